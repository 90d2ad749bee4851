#include "shared/net/http_server.hpp"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "shared/model/error.hpp"
#include "shared/net/signals.hpp"

namespace rowmesh {
namespace {

constexpr unsigned connections = 256;
constexpr unsigned connections_per_address = 64;
constexpr unsigned idle_timeout_s = 60;
constexpr std::size_t connection_memory_bytes = 256 << 10;  // speed of long bodies; the headers' bound as well
constexpr std::size_t headers_most = 64;

struct Exchange {
  HttpRequest request;
  std::uint64_t body_limit = 0;
  HttpResponse early;         // status != 0: answered without looking at the body
};

std::string lower(const char* text) {
  std::string out = text;
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

struct HeaderCount {
  Headers* headers;
  unsigned lengths = 0, encodings = 0, all = 0;
};

MHD_Result take_header(void* data, MHD_ValueKind, const char* name, const char* value) noexcept {
  auto& count = *static_cast<HeaderCount*>(data);
  std::string key = lower(name);
  count.all++;
  if (key == "content-length") count.lengths++;
  if (key == "transfer-encoding") count.encodings++;
  (*count.headers)[key] = value ? value : "";
  return count.all > headers_most ? MHD_NO : MHD_YES;
}

MHD_Result take_argument(void* data, MHD_ValueKind, const char* name, const char* value) noexcept {
  auto& query = *static_cast<std::string*>(data);
  if (!query.empty()) query += '&';
  query += name;
  if (value) query += std::string("=") + value;
  return MHD_YES;
}

HttpResponse plain(int status, const char* text) {
  HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "application/json";
  response.body = std::make_shared<Body>(std::string("{\"error\":\"bad_request\",\"text\":\"") + text + "\"}");
  return response;
}

ssize_t give_body(void* data, std::uint64_t offset, char* out, std::size_t room) noexcept {
  std::size_t read = (*static_cast<std::shared_ptr<Body>*>(data))->read(offset, out, room);
  return read == 0 ? static_cast<ssize_t>(MHD_CONTENT_READER_END_OF_STREAM) : static_cast<ssize_t>(read);
}

void drop_body(void* data) noexcept { delete static_cast<std::shared_ptr<Body>*>(data); }

MHD_Result queue(MHD_Connection* connection, const HttpResponse& answer, bool close) {
  MHD_Response* response = nullptr;
  std::uint64_t size = answer.body ? answer.body->size() : 0;
  std::string_view memory = answer.body ? answer.body->in_memory() : std::string_view();
  if (size == memory.size()) {
    response = MHD_create_response_from_buffer(memory.size(), const_cast<char*>(memory.data()), MHD_RESPMEM_MUST_COPY);
  } else {
    response = MHD_create_response_from_callback(size, 256 << 10, &give_body, new std::shared_ptr<Body>(answer.body), &drop_body);
  }
  if (!response) return MHD_NO;
  for (auto& [name, value] : answer.headers) MHD_add_response_header(response, name.c_str(), value.c_str());
  if (close) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  MHD_Result result = MHD_queue_response(connection, static_cast<unsigned>(answer.status), response);
  MHD_destroy_response(response);
  return result;
}

std::string peer_address(MHD_Connection* connection) {
  const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  char text[INET6_ADDRSTRLEN] = "";
  if (!info || !info->client_addr) return "";
  if (info->client_addr->sa_family == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(info->client_addr)->sin_addr, text, sizeof text);
  else if (info->client_addr->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(info->client_addr)->sin6_addr, text, sizeof text);
  return text;
}

}  // namespace

struct HttpServer::State {
  HttpHandler& handler;
  MHD_Daemon* daemon = nullptr;
  std::string address;

  static MHD_Result answer(void* self, MHD_Connection* connection, const char* url, const char* method, const char*, const char* upload,
                           std::size_t* upload_size, void** slot) noexcept {
    try {
      return static_cast<State*>(self)->step(connection, url, method, upload, upload_size, slot);
    } catch (...) {
      return MHD_NO;  // out of memory: the connection is closed
    }
  }

  MHD_Result step(MHD_Connection* connection, const char* url, const char* method, const char* upload, std::size_t* upload_size, void** slot) {
    auto* exchange = static_cast<Exchange*>(*slot);
    if (!exchange) {
      *slot = exchange = new Exchange;
      return head(*exchange, connection, url, method);
    }
    if (*upload_size > 0) {
      take_upload(*exchange, {upload, *upload_size});
      *upload_size = 0;
      return MHD_YES;
    }
    if (exchange->early.status != 0) return queue(connection, exchange->early, true);
    HttpResponse response;
    try {
      response = handler.handle(exchange->request);
    } catch (const std::exception&) {
      response = plain(500, "the request could not be answered; see the log of this server");
    }
    return queue(connection, response, false);
  }

  // The first call: headers only.
  MHD_Result head(Exchange& exchange, MHD_Connection* connection, const char* url, const char* method) {
    exchange.request.method = method;
    exchange.request.path = url;
    exchange.request.peer_address = peer_address(connection);
    HeaderCount count{&exchange.request.headers};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &take_header, &count);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &take_argument, &exchange.request.query);
    // 0.9.75 lets both pass, and whoever stands before us may read them otherwise (request smuggling).
    if (count.lengths > 1 || (count.lengths > 0 && count.encodings > 0) || count.all > headers_most)
      exchange.early = plain(400, "the headers contradict each other or are too many");
    else
      exchange.early = handler.check(exchange.request, exchange.body_limit);
    std::string length = exchange.request.headers.contains("content-length") ? exchange.request.headers["content-length"] : "0";
    if (exchange.early.status == 0 && std::strtoull(length.c_str(), nullptr, 10) > exchange.body_limit)
      exchange.early = plain(413, "the body is longer than allowed");
    // Answering before the body is read closes the connection afterwards: what the client goes on sending is not a request.
    if (exchange.early.status != 0) return queue(connection, exchange.early, true);
    return MHD_YES;
  }

  void take_upload(Exchange& exchange, std::string_view bytes) {
    if (exchange.early.status != 0) return;
    if (!exchange.request.body) exchange.request.body = std::make_shared<Body>();
    if (exchange.request.body->size() + bytes.size() > exchange.body_limit) {
      exchange.early = plain(413, "the body is longer than allowed");
      exchange.request.body = nullptr;
      return;
    }
    try {
      exchange.request.body->append(bytes);
    } catch (const Error&) {
      exchange.early = plain(503, "the disk for long bodies is full here");
      exchange.request.body = nullptr;
    }
  }

  static void done(void*, MHD_Connection*, void** slot, MHD_RequestTerminationCode) noexcept {
    delete static_cast<Exchange*>(*slot);
    *slot = nullptr;
  }
};

HttpServer::HttpServer(HttpHandler& handler, const ListenAddress& address) : state_(new State{handler, nullptr, {}}) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  std::string port = std::to_string(address.port), name = address.host + ":" + port;
  if (getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found) != 0 || !found)
    throw Error(ErrorKind::config, "listen", "cannot listen on " + name + ": the host name is not known; write its address");
  SignalBlock block;
  unsigned flags = MHD_USE_EPOLL | (found->ai_family == AF_INET6 ? static_cast<unsigned>(MHD_USE_IPv6) : 0u);
  state_->daemon = MHD_start_daemon(flags, address.port, nullptr, nullptr, &State::answer, state_.get(), MHD_OPTION_SOCK_ADDR, found->ai_addr,
                                    MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, connections_per_address,
                                    MHD_OPTION_CONNECTION_TIMEOUT, idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_memory_bytes,
                                    MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_NOTIFY_COMPLETED, &State::done, nullptr, MHD_OPTION_END);
  freeaddrinfo(found);
  if (!state_->daemon)
    throw Error(ErrorKind::config, "listen", "cannot listen on " + name + ": " + std::strerror(errno) + "; choose another address or port");
  state_->address = name;
}

HttpServer::~HttpServer() {
  SignalBlock block;
  if (state_->daemon) MHD_stop_daemon(state_->daemon);
}

std::string HttpServer::listening() const { return state_->address; }

int HttpServer::descriptor() const {
  const MHD_DaemonInfo* info = MHD_get_daemon_info(state_->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  return info ? info->epoll_fd : -1;
}

std::int64_t HttpServer::timeout_ms() const {
  MHD_UNSIGNED_LONG_LONG timeout = 0;
  return MHD_get_timeout(state_->daemon, &timeout) == MHD_YES ? static_cast<std::int64_t>(timeout) : -1;
}

void HttpServer::run() { MHD_run(state_->daemon); }

}  // namespace rowmesh
