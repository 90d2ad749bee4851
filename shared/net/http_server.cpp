#include "shared/net/http_server.hpp"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"
#include "shared/net/listener.hpp"
#include "shared/net/request_gate.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t connection_memory_bytes =
    256 << 10;                                  // also what a body is read in: the default of 32 KB halves the speed
constexpr unsigned connections_to_refuse = 64;  // beyond the limit, for an answer that says so
constexpr std::int64_t refused_deadline_ms = 5000;
constexpr unsigned inactivity_seconds = 60;
constexpr std::size_t answer_block_bytes = 256 << 10;
constexpr std::size_t copied_answer_bytes = 16 << 10;  // goes out in one packet with its headers
constexpr int turns_per_run = 16;
constexpr std::int64_t linger_ms = 5000;
constexpr std::uint64_t linger_bytes = 64 << 20;
constexpr std::uint64_t slowest_bytes_per_ms = 1;  // after the grace
constexpr std::int64_t slow_check_ms = 1000;       // libmicrohttpd's own limit is on inactivity only
constexpr std::int64_t retired_ms = 10000;
constexpr std::size_t buckets_kept = 4096;
constexpr const char* tls_priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
constexpr std::int64_t waiting_check_ms = 1000;

// In the form of docs/protocol.md, so that the other server can show the sentence.
HttpResponse plain_answer(int status, const std::string& text, const std::string& error = "listener") {
  HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "application/json";
  nlohmann::json out = {{"error", error}, {"text", text}};
  response.body = std::make_shared<Body>(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return response;
}

ssize_t read_answer(void* body, std::uint64_t offset, char* out, std::size_t room) noexcept {
  try {
    std::size_t got = (*static_cast<std::shared_ptr<Body>*>(body))->read(offset, out, room);
    return got > 0 ? static_cast<ssize_t>(got) : MHD_CONTENT_READER_END_OF_STREAM;
  } catch (const std::exception&) {
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
}

void free_answer(void* body) noexcept { delete static_cast<std::shared_ptr<Body>*>(body); }

MHD_Response* make_response(const HttpResponse& from) {
  std::uint64_t size = from.body ? from.body->size() : 0;
  if (size > copied_answer_bytes)
    return MHD_create_response_from_callback(size, answer_block_bytes, read_answer,
                                             new std::shared_ptr<Body>(from.body), free_answer);
  std::string bytes = size > 0 ? from.body->text(copied_answer_bytes) : std::string();
  return MHD_create_response_from_buffer(bytes.size(), bytes.data(), MHD_RESPMEM_MUST_COPY);
}

MHD_Result queue(MHD_Connection* connection, const HttpResponse& from, bool close) {
  MHD_Response* response = make_response(from);
  if (!response) return MHD_NO;
  for (const auto& [name, value] : from.headers)
    if (name != "content-length" && name != "connection")
      MHD_add_response_header(response, name.c_str(), value.c_str());
  if (close) MHD_add_response_header(response, "Connection", "close");
  MHD_Result result = MHD_queue_response(connection, static_cast<unsigned>(from.status), response);
  MHD_destroy_response(response);
  return result;
}

}  // namespace

// One per TCP connection: who holds it open without asking anything?
struct HttpServer::Connection {
  HttpServer* server;
  std::list<Connection>::iterator self;
  int fd = -1;
  std::string address;
  bool too_many = false;  // beyond a limit: gets an answer that says so, and nothing else
  std::string fault;      // why its certificate is none; looked at once
  bool fault_known = false;
  bool asked = true;   // something is to be expected from it: it has just come, or has begun a request
  bool ended = false;  // by us: it was too slow
  enum Stage { head, body, answer } stage = head;
  std::int64_t since_ms = 0;  // in this stage
  std::uint64_t body_bytes = 0;

  void enter(Stage next) {
    stage = next;
    since_ms = steady_ms();
    body_bytes = 0;
  }
};

// One per request.
struct HttpServer::Exchange {
  std::string uri;
  HttpRequest request;
  bool begun = false;
  bool answered_early = false;  // the body is not read: linger
  std::uint64_t body_limit = 0;
  std::optional<HttpResponse> instead;  // once the body has been thrown away
  MHD_Connection* waiting = nullptr;    // suspended until the handler has an answer
  std::optional<HttpResponse> late;     // that answer
};

struct HttpServer::Callbacks {
  static std::size_t keep_escapes(void*, MHD_Connection*, char* text) noexcept {
    return std::char_traits<char>::length(text);
  }

  // The request line as it came: the path is signed and must not be unescaped.
  static void* begin(void*, const char* uri, MHD_Connection* connection) noexcept {
    try {
      if (Connection* c = of(connection)) c->asked = true;
      auto exchange = std::make_unique<Exchange>();
      exchange->uri = uri;
      return exchange.release();
    } catch (const std::exception&) {
      return nullptr;
    }
  }

  static void connection(void* self, MHD_Connection* connection, void** context,
                         MHD_ConnectionNotificationCode code) noexcept {
    auto& server = *static_cast<HttpServer*>(self);
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
      auto* ended = static_cast<Connection*>(*context);
      if (!ended) return;
      if (auto at = server.by_address_.find(ended->address); at != server.by_address_.end() && --at->second == 0)
        server.by_address_.erase(at);
      server.connections_.erase(ended->self);
      return;
    }
    try {
      server.connections_.emplace_front();
      Connection& added = server.connections_.front();
      added.self = server.connections_.begin();
      added.server = &server;
      added.fd = descriptor(connection);
      if (const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS))
        added.address = numeric_address(info->client_addr);
      const ListenerLimits& limits = server.settings_.limits;
      added.too_many = ++server.by_address_[added.address] > limits.connections_per_address ||
                       server.connections_.size() > limits.connections;
      added.enter(Connection::head);
      *context = &added;
    } catch (const std::exception&) {
      *context = nullptr;
    }
  }

  static void completed(void* self, MHD_Connection* connection, void** context,
                        MHD_RequestTerminationCode code) noexcept {
    std::unique_ptr<Exchange> exchange(static_cast<Exchange*>(*context));
    // libmicrohttpd itself could make no sense of it.
    if (exchange && !exchange->begun &&
        (code == MHD_REQUEST_TERMINATED_COMPLETED_OK || code == MHD_REQUEST_TERMINATED_WITH_ERROR))
      static_cast<HttpServer*>(self)->refusals_.count(RefusedFor::framing);
    std::erase(static_cast<HttpServer*>(self)->waiting_, exchange.get());
    *context = nullptr;
    if (Connection* c = of(connection)) {
      c->enter(Connection::head);
      c->asked = false;
    }
    auto& server = *static_cast<HttpServer*>(self);
    if (exchange && exchange->answered_early && !server.stopping_) server.linger(descriptor(connection));
  }

  static MHD_Result handle(void* self, MHD_Connection* connection, const char*, const char* method, const char* version,
                           const char* upload, std::size_t* upload_size, void** context) noexcept {
    auto* exchange = static_cast<Exchange*>(*context);
    if (!exchange) return MHD_NO;
    auto& server = *static_cast<HttpServer*>(self);
    try {
      if (!exchange->begun) return server_head(server, connection, *exchange, method, version);
      if (*upload_size > 0) {
        take_body(server, connection, *exchange, {upload, *upload_size});
        *upload_size = 0;
        return MHD_YES;
      }
      if (Connection* c = of(connection)) c->enter(Connection::answer);
      if (exchange->instead) return queue(connection, *exchange->instead, true);
      if (exchange->late) return queue(connection, *exchange->late, false);
      HttpResponse response = answer(server, *exchange, &HttpHandler::handle);
      if (response.status != 0) return queue(connection, response, false);
      exchange->waiting = connection;
      server.waiting_.push_back(exchange);
      MHD_suspend_connection(connection);
      return MHD_YES;
    } catch (...) {
      return MHD_NO;
    }
  }

  static HttpResponse late_answer(HttpServer& server, const Exchange& exchange) {
    return answer(server, exchange, &HttpHandler::later);
  }

 private:
  static int descriptor(MHD_Connection* connection) noexcept {
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
  }

  static Connection* of(MHD_Connection* connection) noexcept {
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? static_cast<Connection*>(info->socket_context) : nullptr;
  }

  static MHD_Result server_head(HttpServer& server, MHD_Connection* connection, Exchange& exchange, const char* method,
                                const char* version) {
    exchange.begun = true;
    RequestGate gate(method, version, server.settings_.limits.header_bytes);
    MHD_get_connection_values(
        connection, MHD_HEADER_KIND,
        [](void* gate, MHD_ValueKind, const char* name, const char* value) -> MHD_Result {
          try {
            static_cast<RequestGate*>(gate)->header(name, value ? value : "");
            return MHD_YES;
          } catch (...) {
            return MHD_NO;
          }
        },
        &gate);
    RequestFault refusal = judge(server, connection, gate, exchange);
    HttpResponse early;
    if (refusal.status != 0) {
      server.refusals_.count(refusal.why);
      early = plain_answer(refusal.status, refusal.text, refusal_names[static_cast<std::size_t>(refusal.why)]);
      if (refusal.status == 429 || refusal.status == 503) early.headers["retry-after"] = "1";
    } else {
      early = check(server, exchange);
      exchange.body_limit = std::min(exchange.body_limit, server.settings_.limits.body_bytes);
      if (early.status == 0 && gate.content_length() > exchange.body_limit)
        early = too_long(server, exchange.body_limit);
    }
    if (early.status == 0) {
      if (Connection* c = of(connection)) c->enter(gate.has_body() ? Connection::body : Connection::answer);
      if (gate.has_body()) exchange.request.body = std::make_shared<Body>();
      return MHD_YES;
    }
    // Kept alive only where no byte of a body can be taken for the next request.
    if (Connection* c = of(connection)) c->enter(Connection::answer);
    exchange.answered_early = gate.has_body() || refusal.status != 0;
    return queue(connection, early, exchange.answered_early);
  }

  // Everything that the listener alone can say against a request.
  static RequestFault judge(HttpServer& server, MHD_Connection* connection, RequestGate& gate, Exchange& exchange) {
    Connection* from = of(connection);
    if (!from) return {503, "this server is out of memory", RefusedFor::other};
    if (from->too_many)
      return {503, "too many connections are open here, in all or from your address (" + from->address + ")",
              RefusedFor::too_many_connections};
    if (!server.within_rate(from->address))
      return {429, "too many requests a second come from your address", RefusedFor::rate};
    RequestFault fault = gate.judge(exchange.uri, exchange.request);
    exchange.request.peer_address = from->address;
    exchange.request.secure = server.settings_.tls.serves();
    // Between servers both sides prove who they are. People come by browser and log in.
    bool between_servers =
        exchange.request.path.starts_with("/rowmesh/v1/") && exchange.request.path != "/rowmesh/v1/ping";
    if (fault.status == 0 && between_servers && exchange.request.secure && !server.settings_.tls.authorities.empty())
      if (const std::string& problem = certificate_fault(connection, *from); !problem.empty())
        return {403,
                "a certificate is needed here: " + problem +
                    ". Set tls_cert_file and tls_key_file on your server, signed by the CA that this one knows",
                RefusedFor::certificate};
    return fault;
  }

  static const std::string& certificate_fault(MHD_Connection* connection, Connection& from) {
    if (std::exchange(from.fault_known, true)) return from.fault;
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    unsigned status = 0;
    int failed = info ? gnutls_certificate_verify_peers2(static_cast<gnutls_session_t>(info->tls_session), &status)
                      : GNUTLS_E_NO_CERTIFICATE_FOUND;
    if (failed != 0) {
      from.fault = failed == GNUTLS_E_NO_CERTIFICATE_FOUND ? "none was shown" : gnutls_strerror(failed);
    } else if (status & GNUTLS_CERT_EXPIRED) {
      from.fault = "yours has expired";
    } else if (status & GNUTLS_CERT_NOT_ACTIVATED) {
      from.fault = "yours is not valid yet";
    } else if (status & GNUTLS_CERT_SIGNER_NOT_FOUND) {
      from.fault = "yours was signed by a CA that is not known here";
    } else if (status != 0) {
      from.fault = "yours is not valid";
    }
    return from.fault;
  }

  static HttpResponse too_long(HttpServer& server, std::uint64_t limit) {
    server.refusals_.count(RefusedFor::body_size);
    return plain_answer(413, "the body is longer than the " + std::to_string(limit) + " bytes that are allowed here");
  }

  static HttpResponse check(HttpServer& server, Exchange& exchange) {
    try {
      return server.handler_.check(exchange.request, exchange.body_limit);
    } catch (const std::exception&) {
      return plain_answer(500, "internal error; the log of this server says more");
    }
  }

  static HttpResponse answer(HttpServer& server, const Exchange& exchange,
                             HttpResponse (HttpHandler::*ask)(const HttpRequest&)) {
    try {
      HttpResponse response = (server.handler_.*ask)(exchange.request);
      bool fits = response.status == 0 || (response.status >= 200 && response.status <= 599);
      return fits ? response : plain_answer(500, "internal error: no answer");
    } catch (const std::exception&) {
      return plain_answer(500, "internal error; the log of this server says more");
    }
  }

  static void take_body(HttpServer& server, MHD_Connection* connection, Exchange& exchange, std::string_view bytes) {
    if (Connection* c = of(connection)) c->body_bytes += bytes.size();
    if (exchange.instead) return;  // libmicrohttpd can answer only after the end: throw the rest away
    try {
      if (!exchange.request.body) exchange.request.body = std::make_shared<Body>();
      if (exchange.request.body->size() + bytes.size() > exchange.body_limit) {
        exchange.instead = too_long(server, exchange.body_limit);
      } else {
        exchange.request.body->append(bytes);
      }
    } catch (const Error& error) {
      exchange.instead = plain_answer(507, "no room for the body: the disk of this server is full");
    }
    if (exchange.instead) exchange.request.body.reset();
  }
};

HttpServer::HttpServer(Poller& poller, HttpHandler& handler, const ListenAddress& address,
                       const ListenerSettings& settings, RefusalCounts& refusals, int listener)
    : poller_(poller), handler_(handler), address_(address), settings_(settings), refusals_(refusals) {
  bool inherited = listener >= 0;
  if (!inherited) listener = open_listener(address);
  port_ = port_of(listener);
  std::vector<MHD_OptionItem> tls;
  auto pem = [&](MHD_OPTION option, const std::string& text) {
    if (!text.empty()) tls.push_back({option, 0, const_cast<char*>(text.c_str())});
  };
  if (settings_.tls.serves()) {
    pem(MHD_OPTION_HTTPS_MEM_KEY, settings_.tls.key);
    pem(MHD_OPTION_HTTPS_MEM_CERT, settings_.tls.certificate);
    pem(MHD_OPTION_HTTPS_MEM_TRUST, settings_.tls.authorities);
    tls.push_back({MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(tls_priorities)});
  }
  tls.push_back({MHD_OPTION_END, 0, nullptr});
  unsigned most_connections = settings_.limits.connections + connections_to_refuse;
  auto silent = [](void*, const char*, va_list) {
  };  // it would write to the standard error of the program that hosts us
  MHD_Daemon* daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME | (settings_.tls.serves() ? MHD_USE_TLS : 0), 0,
      nullptr, nullptr, &Callbacks::handle, this,  //
      MHD_OPTION_EXTERNAL_LOGGER, static_cast<void (*)(void*, const char*, va_list)>(silent), nullptr,
      MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_memory_bytes,
      MHD_OPTION_CONNECTION_LIMIT, most_connections, MHD_OPTION_ARRAY, tls.data(), MHD_OPTION_CONNECTION_TIMEOUT,
      inactivity_seconds, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, &Callbacks::begin, this,
      MHD_OPTION_UNESCAPE_CALLBACK, &Callbacks::keep_escapes, nullptr, MHD_OPTION_NOTIFY_COMPLETED,
      &Callbacks::completed, this, MHD_OPTION_NOTIFY_CONNECTION, &Callbacks::connection, this, MHD_OPTION_END);
  if (!daemon) {
    if (!inherited) ::close(listener);
    if (settings_.tls.serves())
      throw Error(ErrorKind::config, "listen_failed",
                  "the listener cannot use the certificate and key in tls_cert_file and tls_key_file");
    throw Error(ErrorKind::transient, "listen_failed",
                "the HTTP listener could not be started: no memory or no descriptors left");
  }
  listener_ = listener;
  daemon_ = daemon;
  epoll_fd_ = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  poller_.watch(epoll_fd_, EPOLLIN);
}

HttpServer::~HttpServer() {
  stopping_ = true;
  answer_waiting();
  poller_.forget(epoll_fd_);
  MHD_stop_daemon(static_cast<MHD_Daemon*>(daemon_));
  for (const Lingering& one : lingering_) {
    poller_.forget(one.fd);
    ::close(one.fd);
  }
}

void HttpServer::retire() {
  MHD_quiesce_daemon(static_cast<MHD_Daemon*>(daemon_));
  retired_at_ms_ = steady_ms();
}

bool HttpServer::done() const {
  return retired_at_ms_ >= 0 && (connections_.empty() || steady_ms() > retired_at_ms_ + retired_ms);
}

std::string HttpServer::listening() const {
  bool six = address_.host.find(':') != std::string::npos;
  return (six ? "[" + address_.host + "]" : address_.host) + ":" + std::to_string(port_);
}

void HttpServer::run() {
  if (running_) return;
  running_ = true;
  auto* daemon = static_cast<MHD_Daemon*>(daemon_);
  answer_waiting();
  // Its sockets are edge-triggered inside its set, and what it has already read shows only in its timeout
  // (libmicrohttpd's manual).
  for (int turn = 0; turn < turns_per_run; turn++) {
    MHD_run(daemon);
    MHD_UNSIGNED_LONG_LONG again_ms = 0;
    if (MHD_get_timeout(daemon, &again_ms) != MHD_YES || again_ms > 0) break;
  }
  drain_lingering();
  end_slow_requests();
  running_ = false;
}

std::int64_t HttpServer::timeout_ms() const {
  MHD_UNSIGNED_LONG_LONG wanted_ms = 0;
  std::int64_t timeout = MHD_get_timeout(static_cast<MHD_Daemon*>(daemon_), &wanted_ms) == MHD_YES
                             ? static_cast<std::int64_t>(std::min<MHD_UNSIGNED_LONG_LONG>(wanted_ms, 1 << 30))
                             : -1;
  auto at_most = [&](std::int64_t ms) { timeout = timeout < 0 ? ms : std::min(timeout, ms); };
  if (!connections_.empty()) at_most(slow_check_ms);
  if (!waiting_.empty()) at_most(waiting_check_ms);
  for (const Lingering& one : lingering_) at_most(std::max<std::int64_t>(0, one.until_ms - steady_ms()));
  return timeout;
}

// Requests that the handler could not answer at once. When the daemon ends all of them must go on, libmicrohttpd's
// manual says.
void HttpServer::answer_waiting() {
  std::erase_if(waiting_, [this](Exchange* exchange) {
    HttpResponse response =
        stopping_ ? plain_answer(503, "this server stops") : Callbacks::late_answer(*this, *exchange);
    if (response.status == 0) return false;
    exchange->late = std::move(response);
    MHD_resume_connection(std::exchange(exchange->waiting, nullptr));
    return true;
  });
}

// An answer went out while the client is still sending. Closing now would reset the connection, and the reset may
// overtake the answer. So the descriptor is kept a while under another number, and what comes is thrown away.
void HttpServer::linger(int fd) {
  int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return;
  ::shutdown(copy, SHUT_WR);
  lingering_.push_back({copy, steady_ms() + linger_ms, 0});
  poller_.watch(copy, EPOLLIN);
}

void HttpServer::drain_lingering() {
  auto ended = [this](Lingering& one) {
    char thrown_away[64 << 10];
    ssize_t got = 0;
    for (int turn = 0; turn < turns_per_run; turn++) {
      got = ::recv(one.fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT);
      if (got <= 0) break;
      one.bytes += static_cast<std::uint64_t>(got);
    }
    bool open = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (open && one.bytes < linger_bytes && steady_ms() < one.until_ms) return false;
    poller_.forget(one.fd);
    ::close(one.fd);
    return true;
  };
  std::erase_if(lingering_, ended);
}

// A client that sends a byte now and then would hold its connection for ever. One that takes our answer slowly does not
// come here: libmicrohttpd's limit on inactivity is enough for it.
bool HttpServer::within_rate(const std::string& address) {
  double most = settings_.limits.requests_per_second;
  if (most <= 0) return true;
  std::int64_t now_ms = steady_ms();
  if (buckets_.size() >= buckets_kept)
    std::erase_if(buckets_, [&](auto& one) { return one.second.at_ms + 1000 < now_ms; });
  if (buckets_.size() >= buckets_kept) buckets_.clear();
  Bucket& bucket = buckets_.try_emplace(address, Bucket{most, now_ms}).first->second;
  bucket.tokens = std::min(most, bucket.tokens + most * static_cast<double>(now_ms - bucket.at_ms) / 1000);
  bucket.at_ms = now_ms;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

void HttpServer::end_slow_requests() {
  std::int64_t now_ms = steady_ms(), passed_ms = now_ms - looked_for_slow_ms_;
  if (passed_ms < slow_check_ms) return;
  looked_for_slow_ms_ = now_ms;
  bool we_were_slow =
      passed_ms > 4 * slow_check_ms;  // nobody ran the loop: what waited meanwhile is not the clients' fault
  for (Connection& one : connections_) {
    if (we_were_slow) one.enter(one.stage);
    std::int64_t in_stage_ms = now_ms - one.since_ms;
    auto limit_ms = static_cast<std::int64_t>(settings_.limits.request_timeout_ms);
    if (one.too_many) limit_ms = std::min(limit_ms, refused_deadline_ms);
    bool slow = one.stage == Connection::head
                    ? in_stage_ms > limit_ms
                    : one.stage == Connection::body && in_stage_ms > limit_ms &&
                          one.body_bytes < slowest_bytes_per_ms * static_cast<std::uint64_t>(in_stage_ms);
    if (!slow || one.fd < 0 || std::exchange(one.ended, true)) continue;
    if (one.asked) {  // else it is kept open for a next request, and no fault
      static constexpr std::string_view sorry =
          "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
      refusals_.count(one.too_many ? RefusedFor::too_many_connections : RefusedFor::slow);
      if (!settings_.tls.serves() && ::send(one.fd, sorry.data(), sorry.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        one.asked = false;
    }
    ::shutdown(one.fd, SHUT_RDWR);
  }
}

}  // namespace rowmesh
