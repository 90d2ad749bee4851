// Greeting servers: who is there, what it has and what it takes, and what a refusal means.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"
#include "shared/sync/table_fit.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t new_secret_every_ms = 60000;
constexpr std::uint64_t busy_ms = 20;
constexpr std::uint32_t at_once = 3;                  // a refused document is made anew so often without a pause
constexpr std::uint32_t most_backoff_of_refused = 4;  // 4 s: it is the other side that must get on, and it is there
}  // namespace

std::string Node::Impl::servers_in_query() {
  auto text_of = [](const std::set<Origin>& origins) {
    std::string text;
    for (Origin origin : origins) text += (text.empty() ? "" : ".") + to_hex(origin);
    return text;
  };
  auto& servers = core.state.own_meta().servers;
  std::set<Origin> before = former();
  return (servers ? "&servers=" + text_of(*servers) : "") + (before.empty() ? "" : "&former=" + text_of(before));
}

std::set<Origin> Node::Impl::former() {
  std::set<Origin> former;
  for (auto& [origin, member] : core.state.members)
    if (core.was_self(origin)) former.insert(origin);
  return former;
}

// Symptom: a node whose clock had been set right stood still for ever, for others had what it had made and lost.
// Mechanism: a server met it just then, and a greeting of the incarnation before, held up on the way, came after that;
// of this one the server had never heard, so it took the one that it had met for one that had ended. Mend: who has had
// others says which.
void Node::Impl::note_former(const std::string& node, const std::set<Origin>& former) {
  for (Origin origin : former) core.state.members.try_emplace(origin, Member{node, "", true});
}

// What an answer to its own greeting would tell it: perhaps it cannot reach us to ask.
std::string Node::Impl::told_in_greeting(const Peer& peer) {
  Origin origin = known(peer).origin;
  auto meta = core.state.metas.find(origin);
  auto applied = core.state.applied.find(origin);
  if (origin == 0) return "";
  std::string told = "&yours=" + to_hex(origin);
  if (meta != core.state.metas.end() && applied != core.state.applied.end())
    told += "&position=" + to_hex(applied->second.number) + "&newest=" + to_hex(meta->second.newest);
  if (peer.needs_copy) told += "&needs_copy=" + to_hex(judged_as_of(peer));
  if (core.state.closed(origin)) told += "&closed=1";
  return told;
}

PositionNumber Node::Impl::judged_as_of(const Peer& peer) {
  auto theirs = known(peer).applied.find(known(peer).origin);
  return theirs == known(peer).applied.end() ? 0 : theirs->second.number;
}

void Node::Impl::greet(Peer& peer) {
  HttpRequest request;
  request.method = "GET";
  request.path = "/rowmesh/v1/hello";
  request.query = "origin=" + to_hex(core.state.self) + "&instance=" + to_hex(instance) + servers_in_query() +
                  told_in_greeting(peer) + (is_new() ? "&new=1" : "") + (peer.config.all_tables ? "" : "&partial=1");
  peer.last_hello_ms = core.now_ms();
  send(peer, std::move(request), timeout_of(peer, 0),
       [this, as = core.state.self](Peer& answered, const HttpResponse& response) {
         if (response.status != 200) {
           failed(answered, response);
           return;
         }
         if (as != core.state.self) {  // it speaks of an incarnation that has ended meanwhile
           answered.met = false;
           return;
         }
         take_hello(answered, hello_from_json(response.body ? response.body->text(limits::control_body_bytes) : ""));
       });
}

void Node::Impl::greet_only() {
  for (auto& [id, peer] : peers) {
    if (may_ask(peer) && hello_due(peer)) greet(peer);
  }
}

// `takes`: we take its changes. Otherwise nobody waits to hear from it, unless somebody else does
// (NodeState::take_meta).
void Node::Impl::met(const std::string& node, const std::string& name, Origin origin, bool takes,
                     const std::optional<std::set<Origin>>& servers) {
  if (core.state.closed(origin)) return;  // said by an earlier incarnation than we have met: held up on the way
  for (auto& [other, member] : core.state.members)
    if (member.node == node && other != origin)
      member.left = true;  // an earlier incarnation: a closed origin holds nothing back
  auto [member, added] = core.state.members.try_emplace(origin, Member{node, name, !takes});
  if (!name.empty()) member->second.name = name;
  // Its place among our servers is noted at once: if it is removed in the next moment, it was there (Member::linked).
  if (added) owe_announcement(), judge_members();
  // Nothing that is not settled yet may be forgotten before it has spoken for itself (model, H16 h).
  OriginMeta first{0, core.state.prune_horizon, core.state.prune_horizon, {}};
  OriginMeta& meta = core.state.metas.try_emplace(origin, std::move(first)).first->second;
  if (meta.position == 0 && servers) meta.servers = servers;
}

// A new member knows nothing of where we stand, and nobody's changes are taken by it until it does. So heartbeats go
// on, though nothing has changed here, until the watermark has passed this moment, which may take more than one cut.
void Node::Impl::owe_announcement() { core.owed_watermark = std::max(core.owed_watermark, core.store.clock().now()); }

void Node::Impl::take_hello(Peer& peer, const Hello& hello) {
  peer.clock_ahead_ms = static_cast<std::int64_t>(hello.clock_ms) - static_cast<std::int64_t>(core.now_ms());
  if (hello.protocol_min > 1 || hello.protocol_max < 1) {
    peer.blocked = "it speaks protocol " + std::to_string(hello.protocol_min) + " to " +
                   std::to_string(hello.protocol_max) + ", this server speaks 1; install versions that fit";
  } else if (hello.node == core.identity.node) {
    peer.blocked = hello.instance == instance
                       ? "the address is this server's own: give the other server's URL"
                       : "it has this server's own node id: one database is a copy of the other; call "
                         "new_identity('copied') on the copy";
  } else if (core.state.closed(hello.origin)) {
    peer.blocked =
        "it was put back to a state from before it was given a new identity; it stops when it has greeted us";
  } else if (std::uint64_t now_ms = core.now_ms(); now_ms > hello.clock_ms + limits::own_clock_ahead_ms) {
    peer.blocked = "this server's clock is " + std::to_string((now_ms - hello.clock_ms) / 1000) +
                   " s ahead of its clock; set both by NTP";
  } else {
    peer.blocked.clear();
  }
  if (!peer.blocked.empty()) {
    peer.retry_at_ms = core.now_ms() + backoff_ms(++peer.failures, core.services.random.next());
    return;
  }
  judge_identity(peer, hello);
  take_received(peer, hello.progress);
  peer.has_of_ours = Version{hello.your_newest, core.state.self};
  peer.untold = false;
  judge_clock(hello.progress);
  KnownServer& server = known(peer);
  if (server.node != hello.node) core.log('i', "met server '" + peer.config.name + "': node " + hello.node);
  // What it forgot while it was alone may be newer than our watermark, and a transaction that stays open from now on
  // would keep ours there: a cut now notes the time of meeting, and the next one may announce it.
  if (server.origin != hello.origin) force = true;
  note_rows_of_before(peer);
  if (server.node != hello.node) server.heard.clear();
  server.node = hello.node;
  note_former(hello.node, hello.former);
  becomes(peer, hello.origin);
  if (hello.partial) core.state.partial.insert(hello.origin);
  met(hello.node, hello.name, hello.origin, peer.takes(), hello.servers);
  decide_what_is_kept();
  peer.tables.clear();
  peer.left_out.clear();
  peer.not_given.clear();
  for (auto& table : hello.tables) {
    peer.tables.insert(table.name);
    if (!table.exchanged) peer.not_given.insert(table.name);
  }
  for (auto& [id, table] : core.tables())
    if (!peer.tables.contains(table.wire_name)) peer.left_out.insert(table.wire_name);
  peer.misfits.clear();
  for (auto& [id, table] : core.tables()) peer.misfits[table.wire_name] = table_misfit(table, hello);
  leave_out_by_setting(peer);
  peer.ask = hello.ask_me;
  peer.instance_there = hello.instance;
  peer.zstd = hello.zstd;
  peer.returning = hello.returning;
  const auto& told = hello.progress.received ? *hello.progress.received : std::map<Origin, Hlc>();
  peer.has_lost = std::any_of(core.state.missing.begin(), core.state.missing.end(), [&](auto& lost) {
    auto there = told.find(lost.first);
    return there != told.end() && there->second >= lost.second;
  });
  peer.base = hello.base;
  peer.met = true;
  peer.copy_error_there = hello.copy_error;
  if (!hello.old_secret) {
    peer.knows_new_secret |= !peer.sign_with_old;
  } else if (peer.sign_with_old && core.now_ms() > peer.new_secret_tried_ms + new_secret_every_ms) {
    peer.sign_with_old = false;  // its secret was replaced as well: probably by ours
    peer.new_secret_tried_ms = core.now_ms();
  }
  // Changes that it could not take before it had the table. Their positions are past, so they come as a copy.
  for (const std::string& name : server.withheld)
    if (peer.tables.contains(name) && peer.config.exchanges(name) && core.table_by_wire_name(name) &&
        server.copy_error.empty() && copies.empty())
      add_copy(0, peer, false, name, CopyMode::fail);
  take_progress(peer, hello.progress);
}

void Node::Impl::take_progress(Peer& peer, const Progress& progress) {
  observe_lag(peer, progress);
  known(peer).says(progress.applied);
  peer.parked = progress.parked;
  peer.parked_told_ms = core.now_ms();
  peer.direct = progress.direct;
  peer.accepts_unknown = progress.accepts_unknown;
  take_received(peer, progress);
  peer.busy = progress.busy;
  if (peer.busy) {
    peer.met = false;  // ask again rather than send
    peer.retry_at_ms = core.now_ms() + busy_ms;
    next_wake_ms = std::min(next_wake_ms, peer.retry_at_ms);
    return;
  }
  peer.failures = 0;
  peer.retry_at_ms = 0;
  peer.last_error.clear();
  peer.last_success_ms = core.now_ms();
}

void Node::Impl::take_received(Peer& peer, const Progress& progress) {
  core.note_confirmed(progress.applied);
  peer.received = progress.received;
  peer.received_as_of = peer.asked_at;
}

// Of the oldest of our commits that this answer confirms.
void Node::Impl::observe_lag(Peer& peer, const Progress& progress) {
  auto now = progress.applied.find(core.state.self);
  if (now == progress.applied.end()) return;
  auto before = known(peer).applied.find(core.state.self);
  PositionNumber confirmed = before == known(peer).applied.end() ? start_of(peer).number : before->second.number;
  if (now->second.number <= confirmed) return;
  if (Hlc oldest = core.window.oldest_after(core.state.self, confirmed))
    peer.meters.lag_seconds.observe_ms(core.now_ms() - std::min(core.now_ms(), hlc_to_ms(oldest)));
}

void Node::Impl::failed(Peer& peer, const HttpResponse& response) {
  peer.meters.failures++;
  std::string error, text, body = response.body ? response.body->text(limits::control_body_bytes) : "";
  Progress progress;
  error_from_json(body, &error, &text, &progress, &peer.wanted);
  peer.met = false;
  peer.tried.clear();
  // Our secret was replaced, and nobody has replaced its own yet.
  if (response.status == 401 && (error == "bad_signature" || error == "unknown_server") &&
      !peer.config.old_secret.empty()) {
    peer.sign_with_old = !peer.sign_with_old;
    peer.retry_at_ms = core.now_ms();
    if (peer.sign_with_old) return;
  }
  if (!error.empty() && (response.status == 401 || response.status == 409)) peer.untold = false;
  if (!progress.applied.empty()) {
    known(peer).says(progress.applied);
    peer.parked = progress.parked;
    peer.parked_told_ms = core.now_ms();
    take_received(peer, progress);
  }
  if (response.status == 0)
    peer.last_error = response.error;
  else if (error.empty())
    peer.last_error = "it answered " + std::to_string(response.status) +
                      ", but not as rowmesh does; is the URL right, or a proxy in between?";
  else
    peer.last_error = text;
  if (error == "same_node") peer.twin = true;
  bool person = error == "bad_signature" || error == "stopped" || error == "unknown_server" || error == "schema" ||
                error == "same_node" || error == "history" || error == "clock" || error == "too_old" ||
                error == "forbidden" || error == "certificate";
  peer.blocked = person ? peer.last_error : "";
  // A document that only must be made anew is made at once, but not for ever: what keeps it from being taken may last.
  bool anew = error == "gap" || error == "stale" || error == "incomplete";
  if (error == "stale") force = true;
  std::uint32_t so_often = anew ? std::min(peer.refused, most_backoff_of_refused) : peer.failures;
  if (anew) peer.refused++;
  peer.failures++;
  std::uint64_t wait = anew && peer.refused <= at_once ? 0 : backoff_ms(so_often, core.services.random.next());
  peer.knocked = response.status == 0 || error == "unknown_server" || error == "bad_signature" || error == "not_met";
  peer.retry_at_ms = core.now_ms() + wait;
  if (peer.failures == 1 || (peer.failures & (peer.failures - 1)) == 0)
    core.log('i', "server '" + peer.config.name + "': " + peer.last_error);
}

// A server that gets some tables only.
void Node::Impl::leave_out_by_setting(Peer& peer) {
  if (peer.config.all_tables) return;
  for (auto& [id, table] : core.tables())
    if (!peer.config.exchanges(table.wire_name)) peer.left_out.insert(table.wire_name);
}

}  // namespace rowmesh
