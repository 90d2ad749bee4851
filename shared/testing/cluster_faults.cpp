// What breaks in a run, what a person does about it, and how it heals.
#include <algorithm>
#include <cstdlib>

#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {
namespace {
// A raced transaction makes documents, whose applying is raced again: without an end some seeds grew for ever.
constexpr std::uint64_t raced_at_most = 8;  // times the planned transactions
// Longer than clocks are apart: what the restored node writes is newer than what it had written before.
constexpr std::uint64_t restoring_ms = 12000;
constexpr std::int64_t ordinary_skew_ms = 4000;
}  // namespace

// Called from inside the store, on behalf of the core of node i.
void ClusterRun::reach(std::size_t i, Point point) {
  if (healing_) return;
  if (plan_.crashes && random_.chance(point == Point::before_commit || point == Point::after_commit ? 8 : 2)) {
    tell(std::to_string(i) + " crashes at " + std::to_string(static_cast<int>(point)));
    throw Crash{i};
  }
  if (plan_.weather && point != Point::after_commit && random_.chance(10))
    throw Error(ErrorKind::transient, "40001", "could not serialize access");
  if (nodes_[i]->full && (point == Point::before_write || point == Point::before_commit))
    throw Error(ErrorKind::transient, "53100", "no space left on device");
  if (plan_.races && outcome_.commits < raced_at_most * plan_.transactions &&
      (point == Point::at_begin || point == Point::before_find) && random_.chance(100))
    transact(i);
}

// ---- what happens

void ClusterRun::transact(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  if (here.store->in_local() || here.writing || here.full || now_ms_ < here.closed_until_ms) return;
  if (here.adds_late && (here.store->in_transaction() || !random_.chance(200))) return;
  add_what_is_left(i);
  here.writing = true;
  std::string story = here.workload(plan_, ledger_, random_, i);
  here.writing = false;
  if (!story.empty()) outcome_.commits++;
  tell(std::to_string(i) + " writes " + (story.empty() ? "nothing" : story));
  here.wake_ms = std::min(here.wake_ms, now_ms_ + random_.below(4));
}

void ClusterRun::disturb() {
  std::size_t i = random_member();
  SimulatedNode& here = *nodes_[i];
  if (plan_.topology_changes() && random_.chance(300)) return change_topology();
  if (plan_.full_disks && random_.chance(300)) {
    here.full = !here.full;
    return tell(std::to_string(i) + (here.full ? "'s disk is full" : "'s disk has room again"));
  }
  if (plan_.backups && random_.chance(200)) return backup_or_restore(i);
  if (plan_.copies && random_.chance(200)) return copy(i);
  if (plan_.clones && random_.chance(200)) return clone(i);
  if (plan_.discards && random_.chance(400)) return discard(i);
  if (plan_.clocks && random_.chance(200)) return set_clock(i);
  switch (random_.below(plan_.schemas ? 6 : 5)) {
    case 0:
      if (plan_.crashes && here.node) stop(i);
      break;
    case 1:
      if (plan_.partitions) {
        auto [from, to] = edges_[random_.below(edges_.size())];
        bool cut = random_.chance(500);
        bool both = random_.chance(700);
        tell((cut ? "cut " : "joined ") + std::to_string(from) + " " + std::to_string(to));
        network_.cut(from, to, cut);
        if (both) network_.cut(to, from, cut);
      }
      break;
    case 2:
      if (plan_.weather) {
        network_.weather = {1 + random_.below(200),
                            static_cast<unsigned>(random_.below(100)),
                            static_cast<unsigned>(random_.below(150)),
                            static_cast<unsigned>(random_.below(150)),
                            static_cast<unsigned>(random_.below(150)),
                            static_cast<unsigned>(random_.below(30))};
      }
      if (plan_.proxies) {
        network_.weather.shorten = static_cast<unsigned>(random_.below(50));
        network_.weather.proxy = static_cast<unsigned>(random_.below(100));
      }
      break;
    case 3:
      if (plan_.skew) {
        here.wall.skew_ms = static_cast<std::int64_t>(random_.below(2 * ordinary_skew_ms + 1)) - ordinary_skew_ms;
        here.wake_ms = now_ms_;
      }
      break;
    case 4:
      if (plan_.refusals) Workload::toggle_check(*here.store, random_);
      break;
    case 5:
      Workload::rename_column(*here.store, random_.chance(500) ? "things" : "names", random_.chance(600));
      tell("a column of node " + std::to_string(i) + " is renamed");
      here.wake_ms = now_ms_;
      break;
  }
}

// So far ahead that the others do not listen to it, or behind; or right again. One at a time: where several are ahead
// by as much, they take each other's versions, and wait until the right time has come as far.
void ClusterRun::set_clock(std::size_t i) {
  for (auto& node : nodes_)
    if (node != nodes_[i] && std::abs(node->wall.skew_ms) > ordinary_skew_ms) return;
  SkewedWall& wall = nodes_[i]->wall;
  bool wrong = random_.chance(500);
  wall.skew_ms = wrong ? static_cast<std::int64_t>(random_.below(600'000)) - 200'000 : 0;
  nodes_[i]->wake_ms = now_ms_;
  tell("the clock of " + std::to_string(i) + " is off by " + std::to_string(wall.skew_ms) + " ms");
}

// A person gives up what waits in quarantine, or has it tried again.
void ClusterRun::discard(std::size_t i) {
  MemoryStore& store = *nodes_[i]->store;
  for (auto& row : store.load_side())
    if (row.kind == "quarantined" && random_.chance(500)) {
      store.request(random_.chance(700) ? "discard" : "retry", std::to_string(row.id));
      return tell(std::to_string(i) + " is asked to give up or retry " + row.key_text);
    }
}

// What the step discards is what waited just before it.
void ClusterRun::discarding(std::size_t i, const std::function<void()>& step) {
  MemoryStore& store = *nodes_[i]->store;
  std::map<std::int64_t, std::vector<std::string>> given_up;
  if (plan_.discards)
    for (const Request& request : store.requests())
      for (auto& row : store.load_side())
        if (request.kind == "discard" && std::to_string(row.id) == request.argument)
          given_up[request.id] = Ledger::values_in(row.payload);
  auto note = [&] {
    for (const Request& request : store.requests()) given_up.erase(request.id);
    for (auto& [id, values] : given_up)
      for (auto& value : values) ledger_.give_up(value);
  };
  try {
    step();
  } catch (...) {  // a crash after the commit
    note();
    throw;
  }
  note();
}

// A state from before that does not know its servers; a person would add them again.
bool ClusterRun::all_added() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](auto& node) { return node->unadded.empty(); });
}

// One node of a run loses what it did since its backup, as it would by a machine that is set up anew.
void ClusterRun::backup_or_restore(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  if (!backup_.put_back) {
    if (here.workload.has_prepared() || !all_added()) return;
    // The copy of a server has its secret; two that have not been met, and have no URL, cannot be told apart.
    if (plan_.clones && !has_heard_servers(i)) return;
    // What it gives anew when its clock is set right stands under two names, as with a copy
    // (ClusterRun::may_be_copied).
    if (plan_.clocks && is_ahead(here)) return;
    // SQLite gives versions when the log is read: what nobody has read comes back as another change
    // (docs/guarantees.md, "Known gaps").
    if (here.store->flavour() == Flavour::single_writer) {
      if (here.node) guarded(i, [&] { here.node->remember(); });
      if (here.store->log_unread()) return;
    }
    backup_ = {i, here.store->backup(), ledger_.now(), false, {}};
    return tell("backup of " + std::to_string(i));
  }
  if (backup_.used) return;
  backup_.used = true;
  SimulatedNode& lost = *nodes_[backup_.node];
  if (lost.node) stop(backup_.node);
  backup_.lost_parts = lost.workload.parts_written();
  for (auto& conflict : lost.store->conflicts())
    for (auto& value : Ledger::values_in(conflict.loser)) ledger_.forget(value);
  backup_.put_back();
  note_numbers(backup_.node);
  lost.wake_ms = lost.closed_until_ms = now_ms_ + restoring_ms;
  lost.workload.forget_prepared();
  ledger_.forgive("node " + std::to_string(backup_.node), backup_.ledger);
  tell("the backup of " + std::to_string(backup_.node) + " is put back");
}

// What the status asks a person for.
void ClusterRun::obey() {
  look_at_clone();
  for (std::size_t i = 0; i < nodes_.size(); i++) {
    SimulatedNode& here = *nodes_[i];
    look_at_copy(i);
    if (!here.node || waits_for_identity(here)) continue;
    NodeStatus status = here.node->status();
    bool copy = i == clone_.node && i != 0 && !clone_.added;
    // A copy that it was asked to take before waits for that.
    if (status.identity == "restored" && !copy) {
      if (i == backup_.node) backup_.lost_parts = here.workload.parts_written();
      tell(std::to_string(i) + " gets a new identity");
      here.store->request("new_identity", "restored");
      here.wake_ms = now_ms_;
      continue;
    }
    if (!here.store->requests().empty()) continue;
    for (auto& server : status.servers)
      if (server.state == "needs copy" && server.last_error.find("here with") != std::string::npos) {
        if (server.url.empty())
          here.store->change_server(server.id, [&](ServerConfig& config) {
            config.url = SimulatedNetwork::url(std::stoul(config.name.substr(4)));
          });
        tell(std::to_string(i) + " copies from " + server.name);
        here.store->request("copy", R"({"server":")" + server.name + R"(","direction":"pull","on_existing":"source"})");
        here.wake_ms = now_ms_;
        break;
      }
  }
}

void ClusterRun::heal() {
  tell("---- healing");
  healing_ = true;
  network_.heal();
  finish_topology();
  for (auto& node : nodes_) {
    if (node->gone) continue;
    node->wall.skew_ms = 0;
    node->full = false;
    add_what_is_left(static_cast<std::size_t>(&node - nodes_.data()));
    node->workload.finish(ledger_, random_);
    node->store->remove_checks("things");
    node->store->remove_checks("names");
    for (const char* table : {"things", "names"}) Workload::rename_column(*node->store, table, false);
    node->wake_ms = std::max(now_ms_, node->closed_until_ms);
  }
}

}  // namespace rowmesh::testing
