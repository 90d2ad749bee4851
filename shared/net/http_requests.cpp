#include "shared/net/http_requests.hpp"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "shared/http/auth.hpp"
#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t answer_block_bytes = 256 << 10;
constexpr std::size_t copied_answer_bytes = 16 << 10;  // goes out in one packet with its headers

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

int descriptor(MHD_Connection* connection) noexcept {
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info ? info->connect_fd : -1;
}

}  // namespace

HttpResponse plain_answer(int status, const std::string& text, const std::string& error) {
  HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "application/json";
  nlohmann::json out = {{"error", error}, {"text", text}};
  response.body = std::make_shared<Body>(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return response;
}

MHD_Result queue_answer(MHD_Connection* connection, const HttpResponse& from, bool close) {
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

std::size_t HttpServer::Callbacks::keep_escapes(void*, MHD_Connection*, char* text) noexcept {
  return std::char_traits<char>::length(text);
}

// The request line as it came: the path is signed and must not be unescaped.
void* HttpServer::Callbacks::begin(void*, const char* uri, MHD_Connection* connection) noexcept {
  try {
    if (Connection* c = of(connection)) c->asked = true;
    auto exchange = std::make_unique<Exchange>();
    exchange->uri = uri;
    return exchange.release();
  } catch (const std::exception&) {
    return nullptr;
  }
}

void HttpServer::Callbacks::connection(void* self, MHD_Connection* connection, void** context,
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
    std::uint32_t from_there = ++server.by_address_[added.address];
    added.too_many = (from_there > limits.connections_per_address && !server.settings_.behind) ||
                     server.connections_.size() > limits.connections;
    added.enter(Connection::head);
    *context = &added;
  } catch (const std::exception&) {
    *context = nullptr;
  }
}

void HttpServer::Callbacks::completed(void* self, MHD_Connection* connection, void** context,
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

MHD_Result HttpServer::Callbacks::handle(void* self, MHD_Connection* connection, const char*, const char* method,
                                         const char* version, const char* upload, std::size_t* upload_size,
                                         void** context) noexcept {
  auto* exchange = static_cast<Exchange*>(*context);
  if (!exchange) return MHD_NO;
  auto& server = *static_cast<HttpServer*>(self);
  try {
    if (!exchange->begun) return server_head(server, connection, *exchange, method, version);
    if (exchange->relay) {
      std::string_view bytes(upload, std::exchange(*upload_size, 0));
      return go_on_relaying(server, connection, *exchange, bytes);
    }
    if (*upload_size > 0) {
      take_body(server, connection, *exchange, {upload, *upload_size});
      *upload_size = 0;
      return MHD_YES;
    }
    if (Connection* c = of(connection)) c->enter(Connection::answer);
    if (exchange->instead) return queue_answer(connection, *exchange->instead, true);
    if (exchange->late) return queue_answer(connection, *exchange->late, false);
    HttpResponse response = answer(server, *exchange, &HttpHandler::handle);
    if (response.status != 0) return queue_answer(connection, response, false);
    return suspend(server, connection, *exchange);
  } catch (...) {
    return MHD_NO;
  }
}

MHD_Result HttpServer::Callbacks::suspend(HttpServer& server, MHD_Connection* connection, Exchange& exchange) {
  if (Connection* c = of(connection)) c->enter(Connection::answer);  // it is not for the client to do something
  exchange.waiting = connection;
  server.waiting_.push_back(&exchange);
  MHD_suspend_connection(connection);
  return MHD_YES;
}

HttpResponse HttpServer::Callbacks::late_answer(HttpServer& server, const Exchange& exchange) {
  return answer(server, exchange, &HttpHandler::later);
}

HttpServer::Connection* HttpServer::Callbacks::of(MHD_Connection* connection) noexcept {
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info ? static_cast<Connection*>(info->socket_context) : nullptr;
}

MHD_Result HttpServer::Callbacks::server_head(HttpServer& server, MHD_Connection* connection, Exchange& exchange,
                                              const char* method, const char* version) {
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
  } else if (exchange.behind) {
    return begin_relay(server, connection, gate, exchange);
  } else if (exchange.request.path.empty()) {  // "/stock": links in what it answers are relative
    early = plain_answer(302, "the address ends with a slash", "moved");
    std::string_view asked = std::string_view(exchange.uri).substr(0, exchange.uri.find('?'));
    early.headers["location"] = std::string(asked.substr(asked.rfind('/') + 1)) + "/";
  } else {
    early = check(server, exchange);
    exchange.body_limit = std::min(exchange.body_limit, server.settings_.limits.body_bytes);
    if (early.status == 0 && gate.content_length() > exchange.body_limit) early = too_long(server, exchange.body_limit);
  }
  if (early.status == 0) {
    if (Connection* c = of(connection)) c->enter(gate.has_body() ? Connection::body : Connection::answer);
    if (gate.has_body()) exchange.request.body = std::make_shared<Body>();
    return MHD_YES;
  }
  // Kept alive only where no byte of a body can be taken for the next request.
  if (Connection* c = of(connection)) c->enter(Connection::answer);
  exchange.answered_early = gate.has_body() || refusal.status != 0;
  return queue_answer(connection, early, exchange.answered_early);
}

// Everything that the listener alone can say against a request.
RequestFault HttpServer::Callbacks::judge(HttpServer& server, MHD_Connection* connection, RequestGate& gate,
                                          Exchange& exchange) {
  Connection* from = of(connection);
  if (!from) return {503, "this server is out of memory", RefusedFor::other};
  if (from->too_many)
    return {503, "too many connections are open here, in all or from your address (" + from->address + ")",
            RefusedFor::too_many_connections};
  bool behind = server.settings_.behind;
  constexpr const char* too_often = "too many requests a second come from your address";
  if (!behind && !server.within_rate(from->address)) return {429, too_often, RefusedFor::rate};
  RequestFault fault = gate.judge(exchange.uri, exchange.request);
  exchange.request.peer_address = exchange.client.address = from->address;
  exchange.request.secure = exchange.client.tls = server.speaks_tls();
  if (fault.status == 0 && behind) {
    fault = heed_door(server, *from, exchange);
    if (fault.status == 0 && !server.within_rate(exchange.request.peer_address))
      return {429, too_often, RefusedFor::rate};
  } else if (fault.status == 0 && !server.address_.path.empty()) {
    fault = find_place(server, exchange);
  }
  return fault.status == 0 ? judge_certificate(server, connection, *from, exchange) : fault;
}

// Between servers both sides prove who they are. People come by browser and log in.
RequestFault HttpServer::Callbacks::judge_certificate(HttpServer& server, MHD_Connection* connection, Connection& from,
                                                      Exchange& exchange) {
  const TlsMaterial& tls = server.settings_.tls;
  bool between_servers =
      exchange.request.path.starts_with("/rowmesh/v1/") && exchange.request.path != "/rowmesh/v1/ping";
  if (!between_servers || !tls.serves() || tls.authorities.empty()) return {};
  bool behind = server.settings_.behind;
  std::string known_by = behind || exchange.behind ? sha256_hex(tls.authorities) : std::string();
  std::string problem;
  if (!behind)
    problem = certificate_fault(connection, from);
  else if (exchange.client.authorities != known_by)
    problem = "the database that holds this port saw none that our CA signed";
  if (problem.empty()) {
    exchange.client.authorities = known_by;
    return {};
  }
  return {403,
          "a certificate is needed here: " + problem +
              ". Set tls_cert_file and tls_key_file on your server, signed by the CA that this one knows",
          RefusedFor::certificate};
}

const std::string& HttpServer::Callbacks::certificate_fault(MHD_Connection* connection, Connection& from) {
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

HttpResponse HttpServer::Callbacks::too_long(HttpServer& server, std::uint64_t limit) {
  server.refusals_.count(RefusedFor::body_size);
  return plain_answer(413, "the body is longer than the " + std::to_string(limit) + " bytes that are allowed here");
}

HttpResponse HttpServer::Callbacks::check(HttpServer& server, Exchange& exchange) {
  try {
    return server.handler_.check(exchange.request, exchange.body_limit);
  } catch (const std::exception&) {
    return plain_answer(500, "internal error; the log of this server says more");
  }
}

HttpResponse HttpServer::Callbacks::answer(HttpServer& server, const Exchange& exchange,
                                           HttpResponse (HttpHandler::*ask)(const HttpRequest&)) {
  try {
    HttpResponse response = (server.handler_.*ask)(exchange.request);
    bool fits = response.status == 0 || (response.status >= 200 && response.status <= 599);
    return fits ? response : plain_answer(500, "internal error: no answer");
  } catch (const std::exception&) {
    return plain_answer(500, "internal error; the log of this server says more");
  }
}

void HttpServer::Callbacks::take_body(HttpServer& server, MHD_Connection* connection, Exchange& exchange,
                                      std::string_view bytes) {
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

}  // namespace rowmesh
