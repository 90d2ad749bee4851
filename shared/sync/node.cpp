#include "shared/sync/node.hpp"

#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"
#include "shared/sync/server_options.hpp"
#include "shared/sync/table_fit.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t heartbeat_ms = 1000;  // while something is unsettled
constexpr std::uint64_t idle_cut_ms = 1000;   // the log is read at least so often, also when nobody is there to ship to
constexpr std::uint64_t flush_again_ms = 100;
constexpr std::size_t kept_troubles = 100;
constexpr std::uint64_t same_trouble_ms = 60000;  // the same sentence again and again says nothing new
constexpr std::uint64_t flush_ms = 100;           // positions may wait so long for their history record
constexpr std::uint64_t status_ms = 100;
constexpr std::uint64_t requests_ms = 100;  // asking costs a query: not at every commit
constexpr std::uint64_t silent_asker_ms = 60000;
constexpr std::uint64_t hour_ms = 3600000;
constexpr std::uint64_t silent_ms = 5000;  // after which people are told that a server does not answer
}  // namespace

Node::Node(const NodeServices& services) : impl_(std::make_unique<Impl>(services)) {}
Node::~Node() = default;
void Node::start() { impl_->start(); }
std::uint64_t Node::tick() { return impl_->tick(); }
bool Node::heeds_commits() const { return impl_->heeds_commits(); }
void Node::force_cut() { impl_->force = true; }
void Node::remember() { impl_->remember(); }
HttpResponse Node::check(const HttpRequest& head, std::uint64_t& body_limit) { return impl_->check(head, body_limit); }
HttpResponse Node::handle(const HttpRequest& request) { return impl_->handle(request); }
HttpResponse Node::later(const HttpRequest& request) { return impl_->later(request); }
NodeStatus Node::status() const { return impl_->status(); }
std::vector<ServerDetail> Node::details() const { return impl_->details(); }
Held Node::held() const { return impl_->held(); }
std::map<std::string, std::uint64_t> Node::conflicts_by_type() const { return impl_->core.counters.conflicts_by_type; }
void Node::count_refused(RefusedFor why) { impl_->core.counters.refused.count(why); }
bool Node::in_transaction() const { return impl_->in_store; }
void Node::require_idle() const {
  if (impl_->in_store)
    throw Error(ErrorKind::transient, "node_busy", "a long document is being applied here; ask again");
}
bool Node::signed_by_server(const HttpRequest& head) { return impl_->signed_by_server(head); }

void Node::Impl::start() {
  started_ms = core.now_ms();
  instance = core.services.random.next();
  misplaced = core.store.place_trouble();
  if (!misplaced.empty()) core.log('e', misplaced);
  core.load_history();
  reload_if_changed();
}

void Node::Impl::guarded(const char* doing, const std::function<void()>& work) {
  try {
    in_store = true;
    work();
    blocked.erase(doing);
  } catch (const Error& error) {
    core.store.rollback();
    core.window.undo_changes();
    if (error.kind() != ErrorKind::transient) blocked[doing] = std::string(doing) + ": " + error.what();
    std::string trouble = std::string(doing) + ": " + error.what();
    std::uint64_t& logged_ms = troubles_logged_ms[trouble];
    if (logged_ms == 0 || core.now_ms() >= logged_ms + same_trouble_ms || core.now_ms() < logged_ms) {
      if (troubles_logged_ms.size() > kept_troubles) troubles_logged_ms.clear();
      troubles_logged_ms[trouble] = core.now_ms();
      core.log(error.kind() == ErrorKind::transient ? 'i' : 'e', trouble);
    }
    next_wake_ms = std::min(next_wake_ms, core.now_ms() + 200);
  } catch (const Refusal& refusal) {
    core.log('w', std::string(doing) + ": " + refusal.text);
  }
  in_store = false;
}

std::uint64_t Node::Impl::tick() {
  if (in_store) return core.now_ms() + 1;
  if (core.now_ms() + idle_cut_ms < last_tick_ms) after_clock_went_back();
  last_tick_ms = core.now_ms();
  next_wake_ms = core.now_ms() + idle_cut_ms;
  guarded("reading the configuration", [&] { reload_if_changed(); });
  // Before anything is shipped under the new origin: a table that waits elsewhere does not wait for the old one's
  // changes any more, but for nothing at all if these do not come with the first of the new one.
  guarded("handing on what an earlier incarnation wrote", [&] { hand_on_again(); });
  take_answers();
  if (stopped().empty()) guarded("applying", [&] { apply_queued(); });
  if (core.now_ms() >= next_requests_ms) {
    guarded("carrying out a request", [&] { carry_out_requests(); });
    next_requests_ms = core.now_ms() + requests_ms;
  } else {
    next_wake_ms = std::min(next_wake_ms, next_requests_ms);
  }
  if (stopped().empty()) {
    guarded("showing what waited", [&] { reconcile(); });
    guarded("giving up tables that wait", [&] { give_up_tables(); });
    guarded("copying tables that waited too long", [&] { copy_given_up_tables(); });
    guarded("joining others", [&] { join_others(); });
    guarded("copying", [&] { go_on_copying(); });
    if (core.state.returning) {
      guarded("coming back", [&] { come_back(); });
      greet_only();
    } else {
      guarded("shipping", [&] { ship(); });
      guarded("asking for changes", [&] { ask_for_changes(); });
    }
  } else if (misplaced.empty()) {
    greet_only();
  }
  guarded("writing the history", [&] {
    if (!core.pending() || core.now_ms() < next_flush_ms) return;
    next_flush_ms = core.now_ms() + flush_again_ms;  // a full disk stays full for a while
    core.flush();
    next_flush_ms = core.now_ms() + flush_ms;
  });
  guarded("giving up servers that are silent", [&] { give_up_silent(); });
  guarded("forgetting an old secret", [&] { forget_old_secrets(); });
  guarded("forgetting what is settled", [&] {
    expire_members();
    judge_members();
    // Who takes the place of one that is gone needs to know what that one wrote, and when.
    // And what was written since a server was added is kept for it, also if both came after the configuration was read.
    if (core.unreconciled.empty() && core.store.config_generation() == config_generation) core.prune();
  });
  if (core.pending()) next_wake_ms = std::min(next_wake_ms, std::max(next_flush_ms, core.now_ms() + 1));
  for (auto& [id, peer] : peers)
    if (peer.greets() && !peer.in_flight && peer.retry_at_ms > core.now_ms())
      next_wake_ms = std::min(next_wake_ms, peer.retry_at_ms);
  if (core.now_ms() >= next_status_ms) {
    guarded("publishing the status", [&] { core.store.publish_status(status()); });
    next_status_ms = core.now_ms() + status_ms;
  } else {
    next_wake_ms = std::min(next_wake_ms, next_status_ms);
  }
  return next_wake_ms;
}

void Node::Impl::remember() {
  guarded("writing the history", [&] {
    core.cut_alone();
    core.flush();
  });
}

void Node::Impl::reload_if_changed() {
  std::uint64_t generation = core.store.config_generation();
  if (generation == config_generation) return;
  auto shapes = shapes_of_parked();
  core.load_config();
  for (auto& [name, shape] : shapes_of_parked()) {
    auto before = shapes.find(name);
    bool altered = config_generation == ~std::uint64_t{0} || before == shapes.end() || before->second != shape;
    ParkedTable& parked = core.state.parked[name];
    if (!altered || parked.fits) continue;
    parked.fits = true;  // perhaps: the next document shows it
    copy_tables_at_ms = 0;
    parked.until = core.state.applied;
    parked.until.erase(core.state.self);
  }
  sync_peers(core.store.servers());
  base.reset();
  come_back_at_ms = 0;
  enabled = core.store.setting("enabled") != "off";
  read_retention();
  config_generation = generation;
  next_requests_ms = 0;
  next_retry_ms = core.now_ms();  // a changed schema may take what it refused
}

std::map<std::string, std::string> Node::Impl::shapes_of_parked() {
  std::map<std::string, std::string> shapes;
  for (auto& [name, parked] : core.state.parked)
    if (const Table* table = core.table_by_wire_name(name)) shapes[name] = table_shape(*table);
  return shapes;
}

void Node::Impl::sync_peers(const std::vector<ServerConfig>& servers) {
  std::map<std::int64_t, Peer> before = std::move(peers);
  peers.clear();
  for (const ServerConfig& config : servers) {
    auto old = before.find(config.id);
    Peer peer = old == before.end() ? Peer{} : std::move(old->second);
    if (peer.config.secret != config.secret) peer.sign_with_old = peer.knows_new_secret = false;
    bool moved = peer.config.url != config.url || peer.config.secret != config.secret ||
                 peer.config.enabled != config.enabled || peer.config.all_tables != config.all_tables ||
                 peer.config.tables != config.tables || peer.config.direction != config.direction;
    peer.config = config;
    if (!config.start_state.empty()) {
      NodeState then = NodeState::decode(config.start_state);
      auto own = then.applied.find(core.state.self);
      if (own != then.applied.end()) peer.start = own->second;
      for (auto& [origin, member] : then.members) peer.had_others |= origin != core.state.self && !member.away();
    }
    if (moved) {
      peer.met = peer.in_flight = peer.asking = peer.asked_for_changes = false;
      peer.ready = nullptr;
      peer.retry_at_ms = peer.ask_at_ms = 0;
      peer.failures = 0;
      peer.blocked.clear();
      peer.generation++;
    }
    peers[config.id] = std::move(peer);
    if (old != before.end()) before.erase(old);
  }
  auto removed = [this](auto& one) { return !peers.contains(one.first); };
  for (auto& [id, server] : core.state.servers)
    if (!peers.contains(id)) note_removed(server, before.contains(id) ? &before[id] : nullptr);
  std::erase_if(core.state.servers, removed);
  std::erase_if(queued, removed);
  std::erase_if(refusals, removed);
  decide_what_is_kept();
  judge_members();
}

// A secret that was replaced here is taken until the other side uses the new one.
void Node::Impl::forget_old_secrets() {
  for (auto& [id, peer] : peers) {
    if (!peer.knows_new_secret || peer.config.old_secret.empty()) continue;
    core.store.begin(TransactionKind::write);
    core.store.forget_old_secret(id);
    core.store.commit();
    peer.config.old_secret.clear();
    peer.sign_with_old = false;
    core.log('i', "server '" + peer.config.name + "' uses the new secret: the old one is not taken any more");
  }
}

// Who is silent for longer than its retention holds nothing back any more: what it lacks may be forgotten, and it needs
// a copy then. Silence is counted from the start of this node at the earliest, so that nobody is given up for a time in
// which we were down ourselves.
void Node::Impl::give_up_silent() {
  for (auto& [id, peer] : peers) {
    std::uint64_t hours = peer.config.options.retention_hours;
    peer.heard_ms = std::max({peer.heard_ms, peer.last_success_ms, peer.last_received_ms});
    if (peer.heard_ms == 0) peer.heard_ms = core.now_ms();
    bool silent = hours != 0 && peer.config.enabled && core.now_ms() > peer.heard_ms + hours * hour_ms;
    auto member = core.state.members.find(known(peer).origin);
    if (silent && !peer.given_up && member != core.state.members.end()) {
      member->second.left = true;
      core.log(
          'w',
          "server '" + peer.config.name + "' is silent for more than " + std::to_string(hours) +
              " hours (its retention): its changes are not kept any more, and it may need a copy when it comes back");
    }
    peer.given_up = silent;
  }
}

// What was to happen "in a second" would otherwise wait for as long as the clock had run ahead.
void Node::Impl::after_clock_went_back() {
  next_flush_ms = next_status_ms = next_requests_ms = next_expiry_ms = awake_since_ms = last_heartbeat_ms =
      core.last_cut_ms = core.announced_ms = 0;
  if (next_retry_ms != 0) next_retry_ms = core.now_ms();
  for (auto& [id, peer] : peers) {
    peer.retry_at_ms = peer.ask_at_ms = peer.last_hello_ms = peer.paced_until_ms = 0;
    peer.asked_ms = peer.asked_since_ms = peer.last_received_ms = peer.heard_ms = core.now_ms();
    peer.met = false;
    peer.tried.clear();
  }
  // Symptom: documents went to and fro for ever after a clock had been set right. Mechanism: a copy waited for a moment
  // of the wrong time, and who takes one confirms nothing. Mend: it looks again at once.
  for (Copy& copy : copies) copy.pause_until_ms = 0;
  come_back_at_ms = copy_tables_at_ms = 0;
}

void Node::Impl::take_answers() {
  while (!answers->empty()) {
    Answer answer = std::move(answers->front());
    answers->pop_front();
    auto peer = peers.find(answer.peer);
    if (peer == peers.end() || peer->second.generation != answer.generation) continue;
    if (!answer.asked) peer->second.in_flight = false;
    try {
      answer.done(peer->second, std::move(answer.response));
    } catch (const Error& error) {
      HttpResponse failure;
      failure.error = error.what();
      failed(peer->second, failure);
    }
  }
}

bool Node::Impl::heartbeat_due() {
  if (!core.window.unsettled() && core.awaited() == 0 && core.state.own_meta().watermark >= core.owed_watermark)
    return false;
  last_heartbeat_ms = std::min(last_heartbeat_ms, core.now_ms());
  std::uint64_t due = std::max(core.announced_ms, last_heartbeat_ms) + heartbeat_ms;
  if (due <= core.now_ms()) {
    last_heartbeat_ms = core.now_ms();
    return true;
  }
  next_wake_ms = std::min(next_wake_ms, due);
  return false;
}

std::string Node::Impl::state_of(const Peer& peer, std::uint64_t queued_keys) {
  if (!enabled || !peer.config.enabled) return "disabled";
  if (!stopped().empty()) return "blocked";
  if (!copies.empty() && copies.front().peer == peer.config.id && !copies.front().checks()) return "copying";
  if (!peer.blocked.empty()) return "blocked";
  if (peer.needs_copy || peer.needs_copy_there || peer.given_up || cannot_come_back(peer)) return "needs copy";
  if (peer.failures > 0) return expired(peer) ? "needs copy" : "backing off";
  if (!peer.reachable() && peer.may_ship() && core.now_ms() > peer.last_received_ms + silent_asker_ms)
    return "backing off";
  if (!peer.met && !peer.config.url.empty()) return "catching up";
  return queued_keys > 1000 || peer.busy ? "catching up" : "streaming";
}

NodeStatus Node::Impl::status() {
  NodeStatus status;
  status.time_ms = core.now_ms();
  status.node = core.identity.node;
  status.name = core.identity.name;
  status.position = core.state.applied[core.state.self].number;
  status.unsettled = core.window.size();
  status.side_rows = core.sides().size();
  for (const Entry* entry : core.sides())
    for (const Life& life : entry->state.lives)
      if (life.side && life.side->kind == SideKind::quarantined) status.quarantined++;
  status.captured = core.counters.captured;
  status.applied = core.counters.applied;
  status.conflicts = core.counters.conflicts;
  status.refused = core.counters.refused;
  if (core.services.listener_refusals) status.refused += core.services.listener_refusals();
  status.refused_requests = status.refused.sum();
  status.wait_cut = forced_cuts;
  status.blocked = stopped();
  if (status.blocked.empty() && !blocked.empty()) status.blocked = blocked.begin()->second;
  if (status.blocked.empty() && core.unwritten() >= limits::unwritten_positions)
    status.blocked = "nothing more is shipped, because the history cannot be written; the log says why";
  status.identity = identity_trouble();
  status.started_ms = started_ms;
  for (auto& [name, parked] : core.state.parked)
    status.waiting[name] =
        parked.given_up
            ? "it waited for longer than changes are kept and is copied anew as soon as it fits: " + parked.reason
        : parked.fits ? "it is catching up with what could not be taken before"
                      : parked.reason;
  for (auto& [id, peer] : peers) {
    ServerStatus server;
    Position acked = start_of(peer);
    auto& applied = known(peer).applied;
    if (auto at = applied.find(core.state.self); at != applied.end()) acked = at->second;
    server.id = id;
    server.name = peer.config.name;
    server.url = peer.config.url;
    server.direction = peer.config.direction == Direction::both   ? "both"
                       : peer.config.direction == Direction::push ? "push"
                                                                  : "pull";
    server.enabled = peer.config.enabled;
    server.queued = core.window.count_after(core.state.self, acked.number);
    if (Hlc oldest = core.window.oldest_after(core.state.self, acked.number))
      server.lag_ms = status.time_ms - std::min(status.time_ms, hlc_to_ms(oldest));
    server.state = state_of(peer, server.queued);
    server.last_success_ms = peer.last_success_ms;
    server.last_error = !status.identity.empty() ? status.blocked : peer.blocked;
    if (server.last_error.empty() && (peer.needs_copy_there || cannot_come_back(peer)) && !peer.reachable())
      server.last_error =
          std::string(peer.needs_copy_there ? "it keeps no changes from so long ago, and has"
                                            : "this database must take a copy after it was put back or copied, and "
                                              "that server has") +
          " no URL here from which a copy could be taken: "
          "give it one with alter_server, then call copy('" +
          peer.config.name + "') here with direction 'pull', on_existing 'source'";
    if (server.last_error.empty() && peer.needs_copy_there)
      server.last_error = "it keeps no changes from so long ago: call copy('" + peer.config.name +
                          "') here with direction 'pull', on_existing 'source'";
    if (server.last_error.empty() && peer.needs_copy)
      server.last_error =
          "it was away for longer than changes are kept: call copy there, with direction 'pull', on_existing 'source'";
    if (server.last_error.empty()) server.last_error = peer.last_error;
    if (server.last_error.empty() && peer.in_flight && core.now_ms() >= peer.asked_ms + silent_ms)
      server.last_error = "no answer for " + std::to_string((core.now_ms() - peer.asked_ms) / 1000) + " s";
    if (server.last_error.empty() && server.state == "backing off" && !peer.reachable())
      server.last_error = "it has no URL here, so it must come by itself, and it has not come for a minute";
    if (const std::string& ended = known(peer).copy_error; server.last_error.empty() && !ended.empty())
      server.last_error = "copy: " + ended;
    if (server.last_error.empty() && !peer.copy_error_there.empty())
      server.last_error = "copy: " + peer.copy_error_there;
    for (auto& [name, parked] : peer.parked)
      if (server.last_error.empty() && (!parked.fits || parked.given_up))
        server.last_error = "changes of a table wait there; seen from there: " + parked.reason;
    std::set<std::string> lacking = peer.left_out;
    std::erase_if(lacking, [&, &peer = peer](const std::string& name) { return !peer.config.exchanges(name); });
    if (server.last_error.empty() && !lacking.empty())
      server.last_error = "not replicated there, so not shipped: " + *lacking.begin() +
                          (lacking.size() > 1 ? " and " + std::to_string(lacking.size() - 1) + " more" : "");
    server.rows_sent = peer.rows_sent;
    server.rows_received = peer.rows_received;
    server.conflicts = peer.conflicts;
    server.acked = acked.number;
    server.failures = peer.meters.failures;
    server.clock_ahead_ms = peer.clock_ahead_ms;
    if (!in_schedule(peer.config.options, core.now_ms())) {
      std::uint64_t minute = next_schedule_change_ms(peer.config.options, core.now_ms()) / 60000 % (24 * 60);
      char hours[] = {static_cast<char>('0' + minute / 600),     static_cast<char>('0' + minute / 60 % 10), ':',
                      static_cast<char>('0' + minute % 60 / 10), static_cast<char>('0' + minute % 10),      0};
      server.progress = std::string("nothing is shipped to it before ") + hours + " UTC (its schedule)";
    }
    if (!copies.empty() && copies.front().peer == id) {
      const Copy& copy = copies.front();
      server.progress = "table " + std::to_string(copy.tables_in_all - copy.tables.size() + 1) + " of " +
                        std::to_string(copy.tables_in_all) + ", " +
                        std::to_string(copy.rows + copy.session.found.compared) +
                        (copy.checks() ? " rows compared so far" : " rows so far");
    } else if (server.progress.empty()) {
      server.progress = peer.checked;
    }
    if (server.progress.empty() && core.state.not_compared.contains(id))
      server.progress =
          "both had rows when they met, and these were not compared: call verify('" + peer.config.name + "'), or copy";
    status.servers.push_back(std::move(server));
  }
  return status;
}

std::vector<ServerDetail> Node::Impl::details() const {
  std::vector<ServerDetail> details;
  for (auto& [id, peer] : peers)
    details.push_back({id, peer.config.name, !peer.misfits.empty(), peer.misfits, peer.meters});
  return details;
}

Held Node::Impl::held() const {
  Held held;
  auto add = [&held](const std::shared_ptr<const Body>& body) { held.bytes += body ? body->size() : 0; };
  held.servers = peers.size();
  held.received = queued.size();
  for (auto& [id, document] : queued) add(document.body);
  held.answers = answers->size();
  for (const Answer& answer : *answers) add(answer.response.body);
  held.refusals = refusals.size();
  for (auto& [id, refusal] : refusals) held.wanted = std::max(held.wanted, refusal.wanted.rows().size());
  held.copies = copies.size();
  held.unwritten = core.unwritten();
  held.nonces = replay_guard.size();
  held.parked = core.state.parked.size();
  for (auto& [id, peer] : peers) {
    held.ready += peer.ready != nullptr;
    add(peer.ready);
    held.wanted = std::max({held.wanted, peer.wanted.rows().size(), peer.wanted_of_it.rows().size()});
    held.parked = std::max({held.parked, peer.parked.size(), peer.tried.size()});
  }
  return held;
}

}  // namespace rowmesh
