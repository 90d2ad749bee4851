// What comes in: who may ask, and what is answered.
#include <nlohmann/json.hpp>
#include <utility>

#include "shared/http/query.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

HttpResponse answer(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "application/json";
  response.body = std::make_shared<Body>(std::move(body));
  return response;
}

std::string header_of(const HttpRequest& request, const char* name) {
  auto at = request.headers.find(name);
  return at == request.headers.end() ? "" : at->second;
}

std::uint64_t number_of(const HttpRequest& request, const std::string& name) {
  return query_number(request.query, name);
}

// HEX.HEX of "name=HEX.HEX" in a query; none: it does not say.
std::optional<std::set<Origin>> origins_of(const HttpRequest& request, const std::string& name) {
  auto all = query_value(request.query, name);
  if (!all) return {};
  std::set<Origin> origins;
  for (std::size_t begin = 0; begin < all->size();) {
    std::size_t end = std::min(all->find('.', begin), all->size());
    origins.insert(from_hex(all->substr(begin, end - begin)));
    begin = end + 1;
  }
  return origins;
}

}  // namespace

HttpResponse Node::Impl::refuse(RefusedFor why, int status, const std::string& error, const std::string& text) {
  core.counters.refused.count(why);
  return answer(status, error_to_json(error, text, nullptr));
}

Peer* Node::Impl::peer_of(const HttpRequest& head) {
  std::string node = header_of(head, "x-rowmesh-node");
  for (auto& [id, peer] : peers)
    if (!node.empty() && known(peer).node == node) return &peer;
  return nullptr;
}

AuthResult Node::Impl::authenticate(const HttpRequest& head, Peer& peer) {
  AuthResult result = check_signature(head, peer.config.secret, core.now_ms(), replay_guard);
  if (result == AuthResult::ok) peer.knows_new_secret = true;
  if (result != AuthResult::bad_signature || peer.config.old_secret.empty()) return result;
  return check_signature(head, peer.config.old_secret, core.now_ms(), replay_guard);
}

// The first request of a node: whose secret is it? All servers of a mesh may share one, so it tells who asks only if
// one unmet server has it.
Peer* Node::Impl::introduce(const HttpRequest& head, const std::string& node, AuthResult& result) {
  std::vector<Peer*> candidates;
  for (auto& [id, peer] : peers) {
    if (!known(peer).node.empty()) continue;
    if (signed_with(head, peer.config.secret) || signed_with(head, peer.config.old_secret)) candidates.push_back(&peer);
  }
  if (candidates.empty()) return nullptr;
  result = authenticate(head, *candidates.front());
  if (result != AuthResult::ok) return nullptr;
  if (candidates.size() == 1) {
    known(*candidates.front()).node = node;
    return candidates.front();
  }
  for (Peer* peer : candidates)
    if (peer->failures == 0) peer->retry_at_ms = 0;
  return nullptr;
}

bool Node::Impl::signed_by_server(const HttpRequest& head) {
  Peer* peer = peer_of(head);
  return peer && peer->config.enabled && authenticate(head, *peer) == AuthResult::ok && digest_matches(head);
}

HttpResponse Node::Impl::check(const HttpRequest& head, std::uint64_t& body_limit) {
  body_limit = 0;
  if (head.method == "GET" && head.path == "/rowmesh/v1/ping") return {};
  bool changes = head.method == "POST" && head.path == "/rowmesh/v1/changes";
  bool small = (head.method == "GET" && head.path == "/rowmesh/v1/changes") ||
               (head.method == "GET" && (head.path == "/rowmesh/v1/hello" || head.path == "/rowmesh/v1/rows")) ||
               (head.method == "POST" && head.path == "/rowmesh/v1/copy");
  if (!changes && !small)
    return refuse(RefusedFor::not_found, 404, "not_found",
                  "there is nothing at this address; the protocol is described in docs/protocol.md");
  std::string node = header_of(head, "x-rowmesh-node");
  Peer* peer = peer_of(head);
  AuthResult result = AuthResult::missing;
  if (peer) {
    result = authenticate(head, *peer);
  } else if (!node.empty()) {
    result = AuthResult::bad_signature;
    peer = introduce(head, node, result);
    if (result == AuthResult::bad_signature)
      return refuse(RefusedFor::unknown_node, 401, "unknown_server",
                    "this server does not know you, or the secrets differ; call add_server there with the same secret");
  }
  switch (result) {
    case AuthResult::ok: break;
    case AuthResult::missing:
      return refuse(RefusedFor::not_signed, 401, "missing_signature", "the request is not signed");
    case AuthResult::bad_signature:
      return refuse(RefusedFor::signature, 401, "bad_signature",
                    "the secrets of the two servers differ; set the same one on both");
    case AuthResult::too_old:
      return refuse(RefusedFor::old, 401, "too_old",
                    "the request's time is more than 5 minutes off; set the clocks of both servers by NTP");
    case AuthResult::replayed: return refuse(RefusedFor::replayed, 401, "replayed", "the request was made before");
  }
  if (!peer) {
    // Several servers that were never met have this secret. Who it is will be known when we have greeted them.
    if (head.path == "/rowmesh/v1/hello") {
      body_limit = limits::control_body_bytes;
      return {};
    }
    return refuse(RefusedFor::other, 503, "not_met", "this server has not met you yet; it greets you first");
  }
  if (!peer->config.enabled || !enabled)
    return refuse(RefusedFor::disabled, 503, "disabled",
                  "replication with you is switched off here; call enable_server or enable");
  if (std::string why = stopped(); !why.empty() && head.path != "/rowmesh/v1/hello")
    return refuse(RefusedFor::other, 503, "stopped", "it stands still: " + why);
  if (changes) {
    if (!peer->takes())
      return refuse(RefusedFor::direction, 403, "forbidden",
                    "this server only ships to you and takes nothing from you (direction 'push')");
    body_limit = limits::body_bytes;
  } else {
    body_limit = limits::control_body_bytes;
  }
  return {};
}

HttpResponse Node::Impl::handle(const HttpRequest& request) {
  if (request.path == "/rowmesh/v1/ping") {
    nlohmann::json out = {
        {"rowmesh", ROWMESH_VERSION}, {"node", core.identity.node}, {"protocol", {1, 1}}, {"clock_ms", core.now_ms()}};
    return answer(200, out.dump());
  }
  Peer* peer = peer_of(request);
  if (!peer && request.path != "/rowmesh/v1/hello")
    return refuse(RefusedFor::unknown_node, 401, "unknown_server", "this server does not know you");
  try {
    if (!digest_matches(request))
      return refuse(RefusedFor::changed_body, 401, "bad_digest", "the body is not the one that was signed");
    if (request.path == "/rowmesh/v1/hello") return answer_hello(request, peer);
    if (request.path == "/rowmesh/v1/rows") return answer_rows(request, *peer);
    if (request.path == "/rowmesh/v1/copy") return answer_copy(request, *peer);
    if (request.method == "GET") return answer_asked(request, *peer);
    return answer_changes(request, *peer);
  } catch (const Refusal& refusal) {
    core.counters.refused.count(RefusedFor::document);
    // Its horizon waits for our watermark, which only a cut of ours takes there, and with nothing unsettled here none
    // would come.
    if (refusal.error == "stale") force = true;
    Progress now = progress();
    return answer(409, error_to_json(refusal.error, refusal.text, &now, refusal.wanted));
  } catch (const Error& error) {
    bool transient = error.kind() == ErrorKind::transient;
    if (!transient) core.counters.refused.count(RefusedFor::document);
    if (peer)
      core.log(transient ? 'i' : 'w',
               "a document of server '" + peer->config.name + "' was not applied: " + error.what());
    return answer(transient                             ? 503
                  : error.kind() == ErrorKind::protocol ? 400
                                                        : 500,
                  error_to_json(error.code(), error.what(), nullptr));
  } catch (const nlohmann::json::exception&) {
    return refuse(RefusedFor::document, 400, "bad_request",
                  "the request's JSON is not what docs/protocol.md describes");
  }
}

// What it answered before, under an earlier incarnation, may come later.
void Node::Impl::becomes(Peer& peer, Origin origin) {
  Origin before = std::exchange(known(peer).origin, origin);
  if (before == 0 || before == origin) return;
  peer.generation++;
  peer.met = peer.in_flight = peer.asking = false;
  peer.received.reset();
  peer.instances.clear();  // another run under the earlier incarnation is told that this one is closed
  peer.returns = 0;
}

HttpResponse Node::Impl::answer_hello(const HttpRequest& request, Peer* peer) {
  Origin origin = number_of(request, "origin");
  if (peer) {
    if (auto former = origins_of(request, "former")) note_former(known(*peer).node, *former);
    bool same = origin == known(*peer).origin && !core.state.closed(origin);
    if (same && hears_twins(*peer, number_of(request, "instance")))
      return refuse(
          RefusedFor::document, 409, "same_node",
          "two databases come here with the identity of '" + peer->config.name + "': one is a copy of the other");
    if (origin != 0 && !core.state.closed(origin)) {
      note_rows_of_before(*peer);
      becomes(*peer, origin);
      if (request.query.ends_with("&partial=1")) core.state.partial.insert(origin);
      met(known(*peer).node, "", origin, peer->takes(), origins_of(request, "servers"));
      // Who cannot be reached from here is met by this; who can be still has to say what it knows of us.
      if (!peer->greets() && core.hold_prune) {
        decide_what_is_kept();
        force |= !core.hold_prune;
      }
    }
    if (!peer->greets() && number_of(request, "yours") == core.state.self && !in_store) {
      Hello told;
      told.your_position = number_of(request, "position");
      told.your_newest = number_of(request, "newest");
      told.needs_copy = request.query.find("&needs_copy=") != std::string::npos;
      told.needs_copy_as_of = number_of(request, "needs_copy");
      told.closed = request.query.find("&closed=1") != std::string::npos;
      peer->has_of_ours = Version{told.your_newest, core.state.self};
      judge_identity(*peer, told);
    }
    peer->last_received_ms = core.now_ms();
    // It is there and knows us: no need to wait for as long as we did while it was not.
    if (std::exchange(peer->knocked, false) && !peer->met) peer->retry_at_ms = 0;
  }
  Hello hello;
  hello.node = core.identity.node;
  hello.name = core.identity.name;
  hello.version = ROWMESH_VERSION;
  hello.origin = core.state.self;
  hello.clock_ms = core.now_ms();
  hello.progress = progress();
  hello.instance = instance;
  hello.closed = core.state.closed(origin);
  hello.returning = core.state.returning || core.state.came_back_without;
  if (request.query.find("&new=1") != std::string::npos) {
    if (peer) core.state.not_compared.erase(peer->config.id);
    hello.base = told_base();
  }
  if (peer) {
    hello.needs_copy = peer->needs_copy;
    hello.needs_copy_as_of = judged_as_of(*peer);
  }
  if (auto yours = core.state.metas.find(origin);
      peer && yours != core.state.metas.end() && core.state.applied.contains(origin)) {
    hello.your_position = core.state.applied[origin].number;
    hello.your_newest = yours->second.newest;
  }
  if (peer) hello.copy_error = known(*peer).copy_error;
  hello.ask_me = peer && !peer->reachable() && peer->may_ship();
  hello.zstd = true;
  hello.servers = core.state.own_meta().servers;
  hello.former = former();
  hello.partial = peer && !peer->config.all_tables;
  hello.old_secret = peer && !peer->config.old_secret.empty() && !signed_with(request, peer->config.secret);
  hello.progress.busy = peer && (applying == peer->config.id || queued.contains(peer->config.id));
  for (auto& [id, table] : core.tables()) {
    Hello::HelloTable described{
        table.wire_name, {}, {}, table.integer_key, !peer || peer->config.exchanges(table.wire_name)};
    for (const Column& column : table.columns)
      if (!column.dropped()) described.columns.push_back(column.name);
    for (ColumnIndex column : table.key) described.key.push_back(table.columns[column].name);
    hello.tables.push_back(std::move(described));
  }
  return answer(200, hello_to_json(hello));
}

HttpResponse Node::Impl::answer_changes(const HttpRequest& request, Peer& peer) {
  bool compressed = header_of(request, "content-encoding") == "zstd";
  if (!request.body) return refuse(RefusedFor::document, 400, "empty", "a document is missing");
  peer.last_received_ms = core.now_ms();
  // Rows that change while they are copied come again from the position at which the copy began.
  if (taking_copy() || core.state.returning || awaits_first_copy(peer))
    return refuse(RefusedFor::other, 503, "copying", "a copy is being taken in here; changes follow when it is done");
  if (auto refused = refusals.extract(peer.config.id)) throw refused.mapped();
  if (!in_store && request.body->size() <= limits::inline_apply_bytes)
    return apply_inline(peer, request.body, compressed);
  // A long one is applied in slices beside the listener; the sender asks by hello when it is done.
  queued[peer.config.id] = {request.body, compressed};
  Progress now = progress();
  now.busy = true;
  return answer(202, progress_to_json(now, 0, 0));
}

HttpResponse Node::Impl::apply_inline(Peer& peer, std::shared_ptr<const Body> body, bool compressed) {
  in_store = true;
  try {
    HttpResponse done = apply_now(peer, std::move(body), compressed, {});
    in_store = false;
    return done;
  } catch (...) {
    in_store = false;
    throw;
  }
}

HttpResponse Node::Impl::apply_now(Peer& peer, std::shared_ptr<const Body> body, bool compressed,
                                   const std::function<void()>& breathe) {
  std::uint64_t size = body->size();
  Applier applier(core, std::move(body), compressed);
  if (!peer.config.all_tables) applier.take_only(peer.config.tables);
  Progress now = progress();  // as others are told: they leave out what is taken from its origin itself
  bool anything = applier.check([&](Origin origin) {
    return origin == applier.header().sender || (now.accepts_unknown && !now.direct.contains(origin));
  });
  if (applier.header().node != known(peer).node)
    throw Error(ErrorKind::protocol, "wrong_node", "the document was made by another node than the one that signed it");
  // Who was given a new identity since counts what nobody had taken by then as the new one's; who was not is a copy.
  if (core.state.closed(applier.header().sender))
    throw Refusal{"history", "another incarnation of that database has followed the one that made this document"};
  becomes(peer, applier.header().sender);
  met(known(peer).node, "", applier.header().sender, true);
  peer.meters.documents_received++;
  peer.meters.bytes_received += size;
  if (anything) {
    std::uint64_t begin_ms = core.now_ms();
    std::size_t members = core.state.members.size();
    auto ours = applier.header().metas.find(core.state.self);
    try {
      if (ours != applier.header().metas.end() && ours->second.newest != peer.own_checked &&
          !core.knows_own(ours->second.newest))
        throw OtherHistory{ours->second.newest};
      applier.run(breathe);
    } catch (const OtherHistory& other) {
      met_other_history(other.newest);
      throw Refusal{"stopped", "it stands still: " + stopped()};
    }
    if (core.state.members.size() > members) owe_announcement();  // somebody behind the sender
    peer.meters.apply_seconds.observe_ms(core.now_ms() - std::min(core.now_ms(), begin_ms));
    peer.rows_received += applier.rows();
    peer.conflicts += applier.conflicts();
  }
  // Not of one that could not be applied: its sender may turn out to be ahead of its time, and take it all back.
  core.owed_watermark = std::max(core.owed_watermark, applier.header().prune_horizon);
  core.awaited_elsewhere = std::max(core.awaited_elsewhere, std::min(applier.header().awaited, applier.header().hlc));
  return answer(200, progress_to_json(progress(), applier.rows(), applier.conflicts()));
}

void Node::Impl::apply_queued() {
  while (!queued.empty()) {
    auto first = queued.begin();
    applying = first->first;
    Queued document = std::move(first->second);
    queued.erase(first);
    auto peer = peers.find(applying);
    try {
      if (peer != peers.end()) apply_now(peer->second, document.body, document.compressed, core.services.breathe);
    } catch (const Refusal& refusal) {
      // The sender sees at its next hello that nothing moved, sends again, and is told the reason then.
      refusals[applying] = refusal;
      core.log('w', "a document of server '" + peer->second.config.name + "' was not taken: " + refusal.text);
    } catch (const Error& error) {
      core.store.rollback();
      core.window.undo_changes();
      core.log('w', "a document of server '" + peer->second.config.name + "' was not applied: " + error.what());
    }
    applying = 0;
  }
}

}  // namespace rowmesh
