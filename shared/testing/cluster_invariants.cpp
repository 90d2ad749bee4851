// What must hold at every moment of a run, looked at every so many events.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_state.hpp"
#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {
namespace {
constexpr std::uint64_t look_every = 100;  // events
constexpr std::size_t most_history = 40;   // records; some heartbeats since the last that was pruned
constexpr std::size_t most_between = 2;    // positions made where a copy begins
constexpr std::size_t most_tables = 8;
constexpr std::size_t most_open = 3;  // a greeting, a document, a question for changes
}  // namespace

void ClusterRun::watch() {
  for (std::size_t i : members())
    if (nodes_[i]->node) look_for_bounds(i);
  if (steps_ % look_every != 0) return;
  if (network_.most_open() > most_open) fail(std::to_string(network_.most_open()) + " requests are open between two");
  for (std::size_t i : members()) {
    if (nodes_[i]->node) note_coverage(i);
    look_for_twice(i, {"things", "names", "parts"});
  }
  // Rows of a table that waits come after their positions, a backup takes both back, a clock that is set right gives
  // positions anew, and a node with some tables gets the positions of the others.
  if (plan_.schemas || plan_.backups || plan_.clones || plan_.filters || plan_.clocks) return;
  // On a full disk nothing is listed yet.
  if (std::any_of(nodes_.begin(), nodes_.end(), [](auto& node) { return node->full; })) return;
  for (std::size_t i : members())
    if (!nodes_[i]->joining) watch_progress(i);
}

// What was written once stands in one row.
void ClusterRun::look_for_twice(std::size_t i, std::initializer_list<const char*> tables) {
  for (const char* table : tables) {
    std::map<std::string, const Key*> seen;
    for (auto& [key, row] : nodes_[i]->store->rows(table))
      for (const Value& value : row.values.view()) {
        if (!Ledger::is_written(value)) continue;
        std::string name = Ledger::name_of(value.text);
        auto [at, added] = seen.try_emplace(name, &key);
        if (!added && !ledger_.carried(name) && !had_other_number(name))
          return fail("node " + std::to_string(i) + " has " + name + " twice: under " + key_to_text(*at->second) +
                      " and " + key_to_text(key));
      }
  }
}

// At the end: what somebody who saw it replaced or removed is nowhere any more. (Under a natural key it may show again
// what an older life had, and where rows count as a whole an edit of another column brings it back. Where an edit lost,
// which is listed, what it had replaced is there again; what is put back or leaves takes what it did along.)
void ClusterRun::look_for_risen() {
  if (plan_.rows || plan_.merge || plan_.discards || plan_.backups || plan_.leaves || plan_.clones) return;
  std::set<std::string> listed;
  for (std::size_t i = 0; i < nodes_.size(); i++) collect_listed(i, listed);
  for (const char* table : {"things", "parts"})
    for (auto& [key, row] : nodes_[members().front()]->store->rows(table))
      for (const Value& value : row.values.view()) {
        std::string name = Ledger::is_written(value) ? Ledger::name_of(value.text) : "";
        if (!name.empty() && ledger_.gone(name) && !ledger_.carried(name) && !listed.contains(ledger_.successor(name)))
          return fail("risen: " + name + " was replaced or removed by one who saw it, and is in row " +
                      key_to_text(key) + " of " + table);
      }
}

// What waits in memory is bounded by the number of servers and by constants, after every event (shared/sync/README.md,
// "What is held").
void ClusterRun::look_for_bounds(std::size_t i) {
  Held held = nodes_[i]->node->held();
  struct Bound {
    const char* what;
    std::size_t is, most;
  };
  const Bound bounds[] = {
      {"documents wait to be applied", held.received, held.servers},
      {"documents wait to be fetched", held.ready, held.servers},
      {"refusals wait to be told", held.refusals, held.servers},
      {"answers wait", held.answers, most_open * nodes_.size()},
      {"copies wait", held.copies, limits::copies},
      {"rows must come whole", held.wanted, limits::wanted_rows},
      {"positions wait to be written", held.unwritten, limits::unwritten_positions + most_between},
      {"tables wait", held.parked, most_tables},
      {"nonces are remembered", held.nonces, limits::nonces},
  };
  for (const Bound& bound : bounds)
    if (bound.is > bound.most)
      return fail("node " + std::to_string(i) + ": " + std::to_string(bound.is) + " " + bound.what + ", more than " +
                  std::to_string(bound.most));
}

// At rest the log and the history are short again, however long the run was.
void ClusterRun::look_for_room() {
  for (std::size_t i : members()) {
    MemoryStore& store = *nodes_[i]->store;
    store.prune_now();
    if (store.log_size() > 0 || store.history_size() > most_history)
      return fail("node " + std::to_string(i) + " keeps " + std::to_string(store.log_size()) + " log entries and " +
                  std::to_string(store.history_size()) + " history records");
  }
}

// A position that was given since the last look has all that was committed before that look.
void ClusterRun::note_coverage(std::size_t i) {
  Watched& watched = nodes_[i]->watched;
  PositionNumber position = nodes_[i]->node->status().position;
  if (position < watched.position) watched.covers.erase(watched.covers.upper_bound(position), watched.covers.end());
  if (position > watched.position) watched.covers[position] = watched.committed;
  watched.position = position;
  watched.committed = ledger_.now();
}

// Up to which number of the ledger node i has, by what it says on its disk, what `other` committed.
std::uint64_t ClusterRun::covered(std::size_t i, std::size_t other) const {
  std::string bytes = nodes_[i]->store->stored_state();
  if (bytes.empty()) return 0;
  NodeState state = NodeState::decode(bytes);
  auto applied = state.applied.find(nodes_[other]->store->identity().origin);
  if (applied == state.applied.end()) return 0;
  auto& covers = nodes_[other]->watched.covers;
  auto beyond = covers.upper_bound(applied->second.number);
  return beyond == covers.begin() ? 0 : std::prev(beyond)->second;
}

void ClusterRun::watch_progress(std::size_t i) {
  std::set<std::string> present;
  collect_present(i, present, {"things", "names", "parts"});
  for (std::size_t other : members()) {
    if (other == i) continue;
    std::uint64_t upto = covered(i, other);
    std::uint64_t& checked = nodes_[i]->watched.checked[other];
    if (upto > checked) look_for_written(i, other, checked, upto, present);
    checked = std::max(checked, upto);
  }
}

// It is there, or was replaced by somebody who saw it, or somebody has it in the list.
void ClusterRun::look_for_written(std::size_t i, std::size_t other, std::uint64_t after, std::uint64_t upto,
                                  const std::set<std::string>& present) {
  std::set<std::string> listed;
  for (auto& value : ledger_.written_by("node " + std::to_string(other), after, upto)) {
    // Where an application moved a row, its end under the old key may come by one way before its begin by another.
    if (present.contains(value) || ledger_.gone(value) || ledger_.carried(value)) continue;
    if (listed.empty())
      for (std::size_t any = 0; any < nodes_.size(); any++) collect_listed(any, listed);
    if (!listed.contains(value))
      return fail("node " + std::to_string(i) + " says that it has what node " + std::to_string(other) +
                  " wrote, and lacks " + value);
  }
}

}  // namespace rowmesh::testing
