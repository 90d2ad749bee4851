// What goes out: one document for all who lack the same, and what its answer means.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"
#include "shared/sync/server_options.hpp"
#include "shared/sync/table_fit.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t hello_every_ms = 5000;  // so that both sides know that the link lives
constexpr std::uint64_t between_documents_ms = 4;
constexpr std::uint64_t answer_timeout_ms = 10000;
constexpr std::uint64_t document_timeout_ms =
    5000;  // more than that, and a second for each megabyte; a long document is answered before it is applied
constexpr std::uint64_t misfit_again_ms = 30000;
constexpr std::size_t compress_from_changes = 200;  // fewer fit into a packet or two: not worth the milliseconds
constexpr std::uint64_t direct_for_ms = 15000;      // an origin is "direct" while it was heard itself within this time
}  // namespace

std::uint64_t backoff_ms(std::uint32_t failures, std::uint64_t random) {
  std::uint64_t whole = std::min<std::uint64_t>(30000, 250ull << std::min<std::uint32_t>(failures, 10));
  return whole / 2 + random % (whole / 2);
}

std::uint64_t Node::Impl::timeout_of(const Peer& peer, std::uint64_t body_bytes) {
  const ServerOptions& options = peer.config.options;
  std::uint64_t timeout_ms = options.timeout_ms ? options.timeout_ms : answer_timeout_ms;
  if (body_bytes == 0) return timeout_ms;
  timeout_ms += document_timeout_ms + body_bytes / 1000;
  return options.rate_limit ? timeout_ms + body_bytes * 1000 / options.rate_limit : timeout_ms;
}

// What was sent uses up the time that it may take; the next document waits for the rest of it. And changes that come
// faster than documents go wait for each other: a document costs both sides half a millisecond of processor time,
// whatever is in it, which the writers on a busy machine need themselves. A single change after another goes at once.
void Node::Impl::pace(Peer& peer, std::uint64_t rows, std::uint64_t bytes) {
  std::uint64_t now_ms = core.now_ms(), begin_ms = std::max(peer.paced_until_ms, now_ms);
  if (std::uint64_t rate = peer.config.options.rate_limit) peer.paced_until_ms = begin_ms + bytes * 1000 / rate;
  if (rows > 1) peer.paced_until_ms = std::max(peer.paced_until_ms, now_ms + between_documents_ms);
}

bool Node::Impl::may_ship_now(const Peer& peer) {
  std::uint64_t now_ms = core.now_ms();
  if (!peer.may_ship() || keeps_to_itself()) return false;
  if (!in_schedule(peer.config.options, now_ms)) {
    next_wake_ms = std::min(next_wake_ms, next_schedule_change_ms(peer.config.options, now_ms));
    return false;
  }
  if (peer.paced_until_ms <= now_ms) return true;
  next_wake_ms = std::min(next_wake_ms, peer.paced_until_ms);
  return false;
}

bool Node::Impl::may_ask(const Peer& peer) {
  return enabled && peer.greets() && !peer.in_flight && peer.retry_at_ms <= core.now_ms();
}

bool Node::Impl::hello_due(const Peer& peer) {
  return !peer.met || core.now_ms() > peer.last_hello_ms + hello_every_ms;
}

bool Node::Impl::waits_for_changes(const Peer& peer) {
  if (!peer.reachable()) return enabled && peer.asked_for_changes && !peer.ready && may_ship_now(peer);
  return may_ask(peer) && !hello_due(peer) && may_ship_now(peer);
}

bool Node::Impl::heeds_commits() {
  return !answers->empty() || (stopped().empty() && std::any_of(peers.begin(), peers.end(), [this](auto& one) {
                                 return waits_for_changes(one.second);
                               }));
}

void Node::Impl::send(Peer& peer, HttpRequest request, std::uint64_t timeout_ms,
                      std::function<void(Peer&, HttpResponse)> done) {
  peer.in_flight = true;
  peer.asked_ms = core.now_ms();
  peer.asked_at = core.state.prune_horizon;
  post(peer, std::move(request), timeout_ms, limits::control_body_bytes, {.done = std::move(done)});
}

void Node::Impl::post(Peer& peer, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_bytes,
                      Answer answer) {
  sign_request(request, core.identity.node, peer.secret(), core.now_ms(), core.services.random.next());
  answer.peer = peer.config.id;
  answer.generation = peer.generation;
  core.services.client.send(peer.config.url, std::move(request), timeout_ms, answer_bytes,
                            [queue = answers, answer = std::move(answer)](HttpResponse response) mutable {
                              answer.response = std::move(response);
                              queue->push_back(std::move(answer));
                            });
}

// Where it begins that has heard nothing of us: at the moment at which it was added, for what was there before it gets
// by a copy. But where there are others, met or not, it may copy from one of those, who lacks what we have not shipped.
Position Node::Impl::start_of(const Peer& peer) {
  return peer.had_others || peers.size() > 1 ? Position{} : peer.start;
}

bool Node::Impl::wants_anything(const Peer& peer, DocumentOrder& order) {
  const KnownServer& server = known(peer);
  for (auto& [origin, position] : core.state.applied) {
    if (origin == server.origin || position.number == 0) continue;
    if (!core.state.hands_on(origin)) continue;
    auto there = server.applied.find(origin);
    bool heard = there != server.applied.end();
    // From whom it hears an earlier incarnation of ours, that was us.
    bool direct = peer.direct.contains(origin) && !core.was_self(origin);
    if (origin != core.state.self && (direct || (!heard && !peer.accepts_unknown))) continue;
    Position from = heard ? there->second : origin == core.state.self ? start_of(peer) : Position{};
    // It counts what a copy of this database shipped under our origin, which says nothing of what we did.
    if (origin == core.state.self && heard && !core.gave(from)) from = {core.state.pruned[origin], 0};
    // Symptom: a change reached some servers only, after its node had crashed. Mechanism: a copy of its database had
    // shipped under its origin, and which positions are its own only the run knows that gave them. Mend: what is newer
    // than the newest version that a server has of it is not there, whatever it counts.
    if (origin == core.state.self && core.of_earlier_run(from) && told_what_it_has(peer)) {
      PositionNumber before = core.before_what_is_newer(peer.has_of_ours->hlc);
      if (before < from.number) from = {before, 0};
    }
    if (origin == core.state.self) order.begins = !heard;
    if (position.number > from.number) order.from[origin] = from;
  }
  order.left_out = peer.left_out;
  order.partial = !peer.config.all_tables;
  order.whole = peer.wanted;
  for (auto& [name, parked] : peer.parked)
    if (can_catch_up(peer, name, parked)) order.behind[name] = parked.covered;
  std::size_t changes = 0;
  for (auto& [origin, from] : order.from) changes += core.window.count_after(origin, from.number);
  using Compression = ServerOptions::Compression;
  Compression wanted = peer.config.options.compression;
  order.compress = peer.zstd && (wanted == Compression::on || (wanted == Compression::automatic && !peer.is_here() &&
                                                               changes >= compress_from_changes));
  return !order.from.empty() || !order.behind.empty();
}

// A table whose changes wait there: have we more of it than it has, and does it fit now, as far as anybody can tell?
bool Node::Impl::can_catch_up(const Peer& peer, const std::string& name, const ParkedTable& parked) {
  const Table* table = core.table_by_wire_name(name);
  if (!table || peer.left_out.contains(name) || parked.given_up) return false;
  auto tried = peer.tried.find(name);
  if (!parked.fits && tried != peer.tried.end() && tried->second.shape == table_shape(*table) &&
      core.now_ms() < tried->second.at_ms + misfit_again_ms)
    return false;
  auto mine = core.state.parked.find(name);
  bool given_up = mine != core.state.parked.end() && mine->second.given_up;
  for (auto& [origin, position] : core.state.applied) {
    if (origin == known(peer).origin || !core.state.hands_on(origin)) continue;
    PositionNumber here = position.number;
    if (given_up && origin != core.state.self) continue;
    if (mine != core.state.parked.end() && origin != core.state.self) {
      auto at = mine->second.covered.find(origin);
      here = at == mine->second.covered.end() ? 0 : at->second.number;
    }
    auto there = parked.covered.find(origin);
    if (here > (there == parked.covered.end() ? 0 : there->second.number)) return true;
  }
  return false;
}

Hlc Node::Impl::horizon_limit() {
  Hlc limit = ~Hlc{0};
  for (auto& [id, peer] : peers) {
    if (peer.takes() || !peer.config.enabled || known(peer).origin == 0) continue;
    for (auto& [origin, position] : core.state.applied) {
      auto there = known(peer).applied.find(origin);
      PositionNumber has = there != known(peer).applied.end() ? there->second.number
                           : origin == core.state.self        ? start_of(peer).number
                                                              : 0;
      if (Hlc oldest = core.window.oldest_after(origin, has)) limit = std::min(limit, oldest - 1);
    }
  }
  return limit;
}

// Has it all of the origin that is forgotten here? Judged by versions, not by positions (model, H16 i). Whoever is who
// it was has received no less than our G at the moment at which it was asked; what it had announced before may be of a
// state that it has lost since. So if what it said is older than our G, it is asked once more.
Node::Impl::Reach Node::Impl::reaches(const Peer& peer, Origin origin) {
  auto meta = core.state.metas.find(known(peer).origin);
  if (!peer.received && meta == core.state.metas.end()) return Reach::no;
  const std::map<Origin, Hlc>& received = peer.received ? *peer.received : meta->second.received;
  auto has_all = [&](Origin one) {
    auto at = received.find(one);
    return at != received.end() && at->second >= core.state.prune_horizon;
  };
  // Of a closed one it may have it under the positions of those who handed it on, before anybody forgot it.
  Origin follower = core.state.follower(origin);
  if (has_all(origin) || (follower != known(peer).origin && has_all(follower))) return Reach::yes;
  // It was that one itself, and has come back by a copy, or lost nothing.
  if (follower == known(peer).origin && follower != origin && !peer.returning) return Reach::yes;
  return peer.received && peer.received_as_of < core.state.prune_horizon ? Reach::to_be_asked : Reach::no;
}

// It does not know the origin. Did it, in an earlier state? Then that was put back to one from before they met.
bool Node::Impl::once_heard(const Peer& peer, Origin origin) {
  if (known(peer).heard.contains(origin)) return true;
  return std::any_of(core.state.members.begin(), core.state.members.end(), [&](auto& one) {
    auto meta = core.state.metas.find(one.first);
    if (one.second.node != known(peer).node || meta == core.state.metas.end()) return false;
    auto received = meta->second.received.find(origin);
    return received != meta->second.received.end() && received->second > 0;
  });
}

void Node::Impl::ship() {
  judge_clock_unasked();
  std::uint64_t now_ms = core.now_ms();
  std::vector<Peer*> ready;
  for (auto& [id, peer] : peers) {
    if (waits_for_changes(peer))
      ready.push_back(&peer);
    else if (may_ask(peer) && hello_due(peer))
      greet(peer);
  }
  // A disk that is full, or a history that somebody has locked, for days: what is not read stays in the log.
  if (core.unwritten() >= limits::unwritten_positions) return;
  bool forced = force || heartbeat_due();
  if (ready.empty() && !forced && now_ms < core.last_cut_ms + 1000) return;

  std::vector<std::pair<DocumentOrder, MadeDocument>> made;
  std::vector<std::pair<Peer*, std::size_t>> to_send;
  std::vector<Peer*> to_greet;
  core.secure_numbers();
  core.horizon_limit = horizon_limit();
  core.store.begin(TransactionKind::read);
  core.cut(forced);
  if (force) forced_cuts++;
  force = false;
  if (keeps_to_itself()) ready.clear();  // the cut has read something
  for (Peer* peer : ready) {
    DocumentOrder order;
    peer->needs_copy = false;
    if (!wants_anything(*peer, order)) continue;
    // What it lacks must still be here.
    bool ask_again = false;
    for (auto& [origin, from] : order.from) {
      auto pruned = core.state.pruned.find(origin);
      bool heard = known(*peer).applied.contains(origin);
      // One that was never met has nothing from us; what was there when it was added it gets by a copy anyway.
      if (!heard && origin == core.state.self && peer->not_kept && pruned != core.state.pruned.end() &&
          pruned->second > from.number)
        peer->needs_copy = true;
      if (pruned == core.state.pruned.end() || pruned->second <= from.number) continue;
      if (!heard && !once_heard(*peer, origin)) continue;
      Reach reach = reaches(*peer, origin);
      peer->needs_copy |= reach == Reach::no;
      ask_again |= reach == Reach::to_be_asked;
    }
    if (ask_again && !peer->needs_copy) to_greet.push_back(peer);
    if (ask_again || peer->needs_copy) continue;
    for (auto& [name, covered] : order.behind)
      peer->tried[name] = {table_shape(*core.table_by_wire_name(name)), core.now_ms()};
    auto same = std::find_if(made.begin(), made.end(), [&](auto& one) { return one.first.same(order); });
    if (same == made.end()) {
      made.emplace_back(order, make_document(core, order));
      same = made.end() - 1;
    }
    // The list of its tables may be older than a table that it has just been given: asked once before anything is
    // withheld.
    auto& withheld = known(*peer).withheld;
    bool more =
        !std::includes(withheld.begin(), withheld.end(), same->second.withheld.begin(), same->second.withheld.end());
    peer->tables_asked = more && !peer->tables_asked && peer->reachable();
    if (peer->tables_asked) {
      to_greet.push_back(peer);
      continue;
    }
    to_send.emplace_back(peer, static_cast<std::size_t>(same - made.begin()));
    if (more) {  // must not be forgotten once its position has moved on
      withheld.insert(same->second.withheld.begin(), same->second.withheld.end());
      force = true;
      next_flush_ms = 0;
    }
  }
  core.store.commit();
  for (Peer* peer : to_greet) {
    if (peer->reachable())
      greet(*peer);
    else
      peer->ask_again = true;
  }
  if (!to_send.empty()) core.note_joined();
  for (auto& [peer, index] : to_send) send_document(*peer, made[index].second);
}

void Node::Impl::send_document(Peer& peer, const MadeDocument& made) {
  pace(peer, made.rows, made.body->size());
  peer.sent_hlc = core.store.clock().now();
  peer.meters.documents_sent++;
  peer.meters.bytes_sent += made.body->size();
  peer.meters.batch_changes.observe(static_cast<double>(made.rows));
  Version newest{core.state.own_meta().newest, core.state.self};
  if (!peer.reachable()) {
    peer.ready = made.body;
    peer.handed = {core.state.applied[core.state.self].number, newest};
    peer.ready_compressed = made.compressed;
    peer.rows_sent += made.rows;
    return;
  }
  HttpRequest request;
  request.method = "POST";
  request.path = "/rowmesh/v1/changes";
  request.headers["content-type"] = "application/x-ndjson";
  if (made.compressed) request.headers["content-encoding"] = "zstd";
  request.body = made.body;
  request.bytes_per_second = peer.config.options.rate_limit;
  std::uint64_t timeout_ms = timeout_of(peer, made.body->size());
  peer.untold = true;
  send(peer, std::move(request), timeout_ms,
       [this, rows = made.rows, newest](Peer& answered, const HttpResponse& response) {
         answered.meters.ship_seconds.observe_ms(core.now_ms() - std::min(core.now_ms(), answered.asked_ms));
         if (response.status != 200 && response.status != 202) {
           failed(answered, response);
           return;
         }
         std::uint64_t applied = 0, conflicts = 0;
         Progress progress = progress_from_json(response.body ? response.body->text(limits::control_body_bytes) : "",
                                                &applied, &conflicts);
         take_progress(answered, progress);
         if (response.status == 200) answered.untold = false;
         if (answered.has_of_ours) answered.has_of_ours = std::max(*answered.has_of_ours, newest);
         answered.refused = 0;
         answered.rows_sent += rows;
         // Further than we are, or there under another tag: has it met another history of ours? hello tells.
         const Position &own = core.state.applied[core.state.self], &there = progress.applied[core.state.self];
         if (there.number > own.number || (there.number == own.number && there.tag != own.tag)) answered.met = false;
         answered.wanted = {};
       });
}

Progress Node::Impl::progress() {
  Progress progress;
  progress.applied = core.state.applied;
  progress.parked = core.state.parked;
  progress.received = core.received();
  for (auto& [id, peer] : peers) {
    Origin origin = known(peer).origin;
    if (origin != 0 && peer.takes() && core.now_ms() < peer.last_received_ms + direct_for_ms)
      progress.direct.insert(origin);
    if (origin == 0) progress.accepts_unknown = false;
  }
  return progress;
}

}  // namespace rowmesh
