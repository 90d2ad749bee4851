// Tables that wait for longer than changes are kept, because they do not fit (NodeState::parked), or because who made
// the changes is gone. Symptom: as long as one table waited on one server, all servers kept all changes of all tables,
// in memory and on disk. Mend: it is given up after `retention`, or while more than `retention_rows` are kept, as a
// server is that does not come (retention.cpp): the others forget its changes, and it is copied anew when it fits. What
// was not settled at the source by then is merged as ever, the rest is as it is there.
#include <algorithm>

#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t patience_ms = 60'000;   // as with a server that is silent
constexpr std::uint64_t copy_again_ms = 5'000;  // a table that fits
constexpr std::uint64_t try_again_ms = 60'000;  // one that did not, when it was last tried

}  // namespace

std::uint64_t Node::Impl::kept_ms() const {
  return core.window.size() > retention_rows ? std::min(patience_ms, retention_ms) : retention_ms;
}

void Node::Impl::give_up_tables() {
  write_off_the_gone();
  auto waits_too_long = [&](const std::string& name, const ParkedTable& table) {
    return !table.given_up && core.now_ms() > table.since_ms + kept_ms() && others_have(name);
  };
  auto& parked = core.state.parked;
  if (std::none_of(parked.begin(), parked.end(), [&](auto& one) { return waits_too_long(one.first, one.second); }))
    return;
  in_transaction([&] {
    for (auto& [name, table] : parked) {
      if (!waits_too_long(name, table)) continue;
      table.given_up = true;
      core.log('w', "the changes of table '" + name + "' have waited for longer than changes are kept (" +
                        (kept_ms() < retention_ms ? "retention_rows" : "retention") +
                        "): it is copied anew as soon as it fits. It waited because: " + table.reason);
    }
  });
  owe_announcement();
}

// Does it wait for nothing but what servers did that are gone for good?
bool Node::Impl::waits_for_the_gone(const ParkedTable& table) const {
  if (!table.fits || table.given_up || core.state.caught_up(table)) return false;
  return std::all_of(table.until.begin(), table.until.end(), [&](auto& one) {
    auto covered = table.covered.find(one.first);
    auto member = core.state.members.find(one.first);
    return (covered != table.covered.end() && covered->second.number >= one.second.number) ||
           core.state.closed(one.first) || (member != core.state.members.end() && member->second.away());
  });
}

// Symptom: a table waited for ever. Mechanism: the server that had shipped past it was removed for good before the
// table fitted anywhere, so nobody has those changes. Mend: who might still have them has as long as changes are kept.
void Node::Impl::write_off_the_gone() {
  std::map<std::string, std::uint64_t> before = std::move(waits_for_gone_since_ms);
  waits_for_gone_since_ms.clear();
  std::vector<std::string> lost;
  for (auto& [name, table] : core.state.parked) {
    if (!waits_for_the_gone(table)) continue;
    std::uint64_t since_ms = before.contains(name) ? before[name] : core.now_ms();
    waits_for_gone_since_ms[name] = since_ms;
    if (core.now_ms() > since_ms + kept_ms()) lost.push_back(name);
  }
  if (lost.empty()) return;
  in_transaction([&] {
    for (const std::string& name : lost) {
      ParkedTable& table = core.state.parked[name];
      for (auto& [origin, until] : table.until) {
        if (until.number <= table.covered[origin].number || core.state.closed(origin)) continue;
        core.log('w', "what server '" + core.state.members[origin].name + "' had changed in table '" + name +
                          "' before it was removed came to no server that could take it: it is lost");
      }
      core.state.parked.erase(name);
    }
  });
  owe_announcement();
}

void Node::Impl::copy_given_up_tables() {
  if (!copies.empty() || core.state.returning || core.now_ms() < copy_tables_at_ms) return;
  for (auto& [name, table] : core.state.parked) {
    if (!table.given_up || !core.table_by_wire_name(name)) continue;
    Peer* source = source_of(name);
    if (!source) continue;
    add_copy(0, *source, true, name, CopyMode::source);
    copies.back().given_up = name;
    copies.back().everything = false;
    return;
  }
}

// Somebody takes this table from everybody. If it waits on all sides nobody has all of it, and nothing may be
// forgotten. Two cannot give it up at once, each for the sake of the other: the one whose table has waited for less
// time has heard since that it waits at the other.
bool Node::Impl::others_have(const std::string& table) {
  std::uint64_t recent_ms = std::min(patience_ms, retention_ms) / 2;
  return std::any_of(peers.begin(), peers.end(), [&](auto& one) {
    const Peer& peer = one.second;
    return peer.takes() && peer.config.exchanges(table) && peer.tables.contains(table) &&
           !peer.parked.contains(table) && !peer.returning && core.now_ms() < peer.parked_told_ms + recent_ms;
  });
}

// Where it was not given up there is all that everybody has forgotten, also if it waits there for something else.
Peer* Node::Impl::source_of(const std::string& table) {
  for (auto& [id, peer] : peers) {
    auto waits = peer.parked.find(table);
    if (peer.met && peer.reachable() && peer.takes() && peer.config.exchanges(table) && peer.tables.contains(table) &&
        !(waits != peer.parked.end() && waits->second.given_up) && !peer.returning)
      return &peer;
  }
  return nullptr;
}

// What was confirmed here without being taken is there, or kept for it.
bool Node::Impl::has_all_of_ours(const DocumentHeader& source) const {
  if (source.given_up.contains(copies.front().given_up)) return false;
  return std::all_of(core.state.applied.begin(), core.state.applied.end(), [&](auto& one) {
    auto& [origin, position] = one;
    if (origin == core.state.self || position.number == 0 || core.state.closed(origin)) return true;
    auto there = source.to.find(origin);
    return there != source.to.end() && there->second.number >= position.number;
  });
}

void Node::Impl::end_copy_of_given_up(const Copy& copy, const std::string& failure) {
  core.copies_waiting_table = false;
  auto parked = core.state.parked.find(copy.given_up);
  if (failure.empty() || parked == core.state.parked.end()) return;
  parked->second.reason = failure;
  copy_tables_at_ms = core.now_ms() + (parked->second.fits ? copy_again_ms : try_again_ms);
}

// In a transaction. What the source lacks itself, or got after the copy's begin, is asked for as if the table had begun
// to wait just then.
void Node::Impl::takes_changes_again(const Copy& copy, Batch& batch) {
  auto parked = core.state.parked.find(copy.given_up);
  const Table* table = core.table_by_wire_name(copy.given_up);
  if (parked == core.state.parked.end() || !table) return;
  ParkedTable& waits = parked->second;
  waits.given_up = false;
  waits.fits = true;
  waits.since_ms = core.now_ms();
  waits.until = core.state.applied;
  waits.until.erase(core.state.self);
  waits.covered = copy.start;
  if (auto there = copy.start_parked.find(copy.given_up); there != copy.start_parked.end()) {
    waits.covered = there->second;
    waits.covered[copy.start_horizon.origin] = copy.start.at(copy.start_horizon.origin);
  }
  // Those behind us get of it what has not settled, as if it had come as changes.
  for (auto& [origin, position] : waits.until) batch.ends.emplace_back(origin, position.number);
  hand_on_copied(batch, table);
  if (!core.state.caught_up(waits)) return;
  core.log('i', "the changes of table '" + copy.given_up + "' are here");
  core.state.parked.erase(parked);
}

}  // namespace rowmesh
