// Ports that several databases share: what the door does with a request that is not its own, and what a listener behind
// it does with what the door says.
#include <utility>

#include "shared/model/error.hpp"
#include "shared/net/http_requests.hpp"

namespace rowmesh {

RequestFault HttpServer::Callbacks::find_place(HttpServer& server, Exchange& exchange) {
  Neighbour behind;
  switch (server.settings_.door->place_of(server.address_, exchange.request, behind)) {
    case PortDoor::Place::behind: exchange.behind = std::move(behind); return {};
    case PortDoor::Place::root_only:
      return {404,
              "several databases listen on this port, each under a path of its own: write that path into the URL of "
              "this server, as in http://host:port/path",
              RefusedFor::not_found};
    case PortDoor::Place::nobody:
      // One whose worker starts is not there yet: whoever asks comes again.
      return {503, "no database listens under this path here, or not yet", RefusedFor::not_found};
    case PortDoor::Place::here:
    case PortDoor::Place::no_slash: break;
  }
  return {};
}

RequestFault HttpServer::Callbacks::heed_door(HttpServer& server, Connection& from, Exchange& exchange) {
  try {
    std::optional<DoorClient> client = introduced(server.door_key_, exchange.request);
    if (!client) {  // somebody on this machine who knows our own port: the dashboard of a neighbour
      exchange.client = {from.address, false, ""};
      return {};
    }
    if (server.settings_.tls.serves() && !client->tls)
      return {403,
              "this database wants TLS, and the one that holds its port has none: set tls_cert_file and tls_key_file "
              "for that one as well",
              RefusedFor::certificate};
    exchange.client = *client;
    exchange.request.peer_address = client->address;
    exchange.request.secure = client->tls;
    return {};
  } catch (const Error& error) {
    return {403, error.what(), RefusedFor::signature};
  }
}

MHD_Result HttpServer::Callbacks::begin_relay(HttpServer& server, MHD_Connection* connection, const RequestGate& gate,
                                              Exchange& exchange) {
  exchange.body_limit = server.settings_.limits.body_bytes;
  if (gate.content_length() > exchange.body_limit) {
    exchange.answered_early = true;
    return queue_answer(connection, too_long(server, exchange.body_limit), true);
  }
  exchange.relay = server.settings_.door->relay(*exchange.behind, std::move(exchange.request), exchange.client,
                                                {gate.has_body(), gate.content_length()});
  if (gate.has_body()) return suspend(server, connection, exchange);
  exchange.relay_stage = Exchange::answer;
  return MHD_YES;
}

MHD_Result HttpServer::Callbacks::go_on_relaying(HttpServer& server, MHD_Connection* connection, Exchange& exchange,
                                                 std::string_view bytes) {
  Relay& relay = *exchange.relay;
  Connection* from = of(connection);
  if (exchange.relay_stage == Exchange::head) {
    if (relay.answer()) {  // refused by its head: not a byte of the body is taken
      exchange.answered_early = true;
      return queue_answer(connection, *relay.answer(), true);
    }
    exchange.relay_stage = Exchange::body;
    if (from) from->enter(Connection::body);
    if (bytes.empty()) return MHD_YES;
  }
  if (!bytes.empty()) {
    if (from && from->stage != Connection::body) from->enter(Connection::body);
    if (from) from->body_bytes += bytes.size();
    if (bytes.size() > exchange.body_limit) relay.answer_with(too_long(server, exchange.body_limit));
    exchange.body_limit -= std::min<std::uint64_t>(exchange.body_limit, bytes.size());
    relay.give(bytes);
    return relay.full() ? suspend(server, connection, exchange) : MHD_YES;
  }
  exchange.relay_stage = Exchange::answer;
  if (relay.answer()) return queue_answer(connection, *relay.answer(), false);
  relay.end_body();
  return suspend(server, connection, exchange);
}

}  // namespace rowmesh
