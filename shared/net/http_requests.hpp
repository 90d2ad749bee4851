// What HttpServer knows of a connection and of a request, and what libmicrohttpd calls for them.
#pragma once
#include <microhttpd.h>

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "shared/net/http_server.hpp"
#include "shared/net/listener.hpp"
#include "shared/net/port_door.hpp"
#include "shared/net/relay.hpp"
#include "shared/net/request_gate.hpp"

namespace rowmesh {

// In the form of docs/protocol.md, so that the other server can show the sentence.
HttpResponse plain_answer(int status, const std::string& text, const std::string& error = "listener");
// `close`: the connection cannot be used again, since the body was not read to its end.
MHD_Result queue_answer(MHD_Connection* connection, const HttpResponse& answer, bool close);

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
  std::optional<Neighbour> behind;                            // whose it is, if not ours
  DoorClient client;                                          // who asks, for that one
  std::optional<HttpResponse> instead;                        // once the body has been thrown away
  MHD_Connection* waiting = nullptr;                          // suspended until the handler has an answer
  std::optional<HttpResponse> late;                           // that answer
  std::unique_ptr<Relay> relay;                               // for a database behind us
  enum RelayStage { head, body, answer } relay_stage = head;  // what goes there, or is waited for

  bool relay_moved() const {
    return relay->answer() || (relay_stage == head && relay->wants_body()) || (relay_stage == body && !relay->full());
  }
};

struct HttpServer::Callbacks {
  static std::size_t keep_escapes(void*, MHD_Connection*, char* text) noexcept;
  static void* begin(void*, const char* uri, MHD_Connection* connection) noexcept;
  static void connection(void* self, MHD_Connection* connection, void** context,
                         MHD_ConnectionNotificationCode code) noexcept;
  static void completed(void* self, MHD_Connection* connection, void** context,
                        MHD_RequestTerminationCode code) noexcept;
  static MHD_Result handle(void* self, MHD_Connection* connection, const char*, const char* method, const char* version,
                           const char* upload, std::size_t* upload_size, void** context) noexcept;
  static HttpResponse late_answer(HttpServer& server, const Exchange& exchange);

  // http_relays.cpp: ports that several databases share
  static RequestFault find_place(HttpServer& server, Exchange& exchange);
  static RequestFault heed_door(HttpServer& server, Connection& from, Exchange& exchange);
  static MHD_Result begin_relay(HttpServer& server, MHD_Connection* connection, const RequestGate& gate,
                                Exchange& exchange);
  static MHD_Result go_on_relaying(HttpServer& server, MHD_Connection* connection, Exchange& exchange,
                                   std::string_view bytes);

 private:
  static Connection* of(MHD_Connection* connection) noexcept;
  static MHD_Result server_head(HttpServer& server, MHD_Connection* connection, Exchange& exchange, const char* method,
                                const char* version);
  static MHD_Result suspend(HttpServer& server, MHD_Connection* connection, Exchange& exchange);
  static RequestFault judge(HttpServer& server, MHD_Connection* connection, RequestGate& gate, Exchange& exchange);
  static RequestFault judge_certificate(HttpServer& server, MHD_Connection* connection, Connection& from,
                                        Exchange& exchange);
  static const std::string& certificate_fault(MHD_Connection* connection, Connection& from);
  static HttpResponse too_long(HttpServer& server, std::uint64_t limit);
  static HttpResponse check(HttpServer& server, Exchange& exchange);
  static HttpResponse answer(HttpServer& server, const Exchange& exchange,
                             HttpResponse (HttpHandler::*ask)(const HttpRequest&));
  static void take_body(HttpServer& server, MHD_Connection* connection, Exchange& exchange, std::string_view bytes);
};

}  // namespace rowmesh
