// What must hold when all is healed.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {

void ClusterRun::fail(const std::string& why) {
  if (outcome_.failure.empty()) outcome_.failure = why;
  tell("FAILURE " + why);
}

void ClusterRun::tell(const std::string& line) {
  for (char byte : line) outcome_.trace = (outcome_.trace ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  outcome_.trace += now_ms_;
  if (keep_story_) outcome_.story.push_back(std::to_string(now_ms_ - start_ms) + " " + line);
}

std::vector<std::size_t> ClusterRun::members() const {
  std::vector<std::size_t> members;
  for (std::size_t i = 0; i < nodes_.size(); i++)
    if (!nodes_[i]->gone) members.push_back(i);
  return members;
}

std::string ClusterRun::difference() const {
  std::vector<std::size_t> all = members();
  std::size_t first = all.front();
  for (std::size_t i : all)
    if (!nodes_[i]->node) return "a node is down";
  for (const char* table : {"things", "names", "parts"})
    for (std::size_t i : all) {
      if (i == plan_.leaf() && table != std::string("names")) continue;
      std::string difference = Workload::difference(*nodes_[first]->store, *nodes_[i]->store, table);
      if (!difference.empty())
        return std::string(table) + " of " + std::to_string(first) + " and " + std::to_string(i) + ": " + difference;
    }
  auto hidden = [&](const SimulatedNode& node, bool names_only) {
    std::set<std::string> keys;
    TableId names = node.store->table("names").id;
    for (auto& row : node.store->load_side())
      if ((!names_only || row.table == names) && row.kind != "contested")
        keys.insert(std::to_string(row.table) + " " + row.kind + " " + row.key_text);
    return keys;
  };
  for (std::size_t i : all) {
    bool names_only = i == plan_.leaf();
    auto here = hidden(*nodes_[first], names_only), there = hidden(*nodes_[i], names_only);
    if (here == there) continue;
    std::string text = "side rows of " + std::to_string(first) + " and " + std::to_string(i) + ":";
    for (auto& key : here) text += " " + key;
    text += " |";
    for (auto& key : there) text += " " + key;
    return text;
  }
  return "";
}

void ClusterRun::collect_present(std::size_t i, std::set<std::string>& present,
                                 std::initializer_list<const char*> tables) const {
  MemoryStore& store = *nodes_[i]->store;
  std::set<TableId> looked_at;
  for (const char* table : tables) {
    looked_at.insert(store.table(table).id);
    for (auto& [key, row] : store.rows(table))
      for (const Value& value : row.values.view())
        if (value.kind == ValueKind::text) present.insert(Ledger::name_of(value.text));
  }
  for (auto& row : store.load_side())
    if (looked_at.contains(row.table))
      for (auto& value : Ledger::values_in(row.payload)) present.insert(value);
}

void ClusterRun::collect_listed(std::size_t i, std::set<std::string>& listed) const {
  for (auto& conflict : nodes_[i]->store->conflicts())
    for (auto& value : Ledger::values_in(conflict.loser)) listed.insert(value);
}

void ClusterRun::check() {
  if (std::string different = difference(); !different.empty()) return fail("diverged: " + different);
  std::set<std::string> present, listed;
  for (std::size_t i = 0; i < nodes_.size(); i++) {
    collect_listed(i, listed);  // also there where nobody is any more: the machine was removed, its list was read
    if (!nodes_[i]->gone) collect_present(i, present);
  }
  for (std::size_t i : members())
    for (auto& row : nodes_[i]->store->load_side()) {
      if (row.kind == "held" && !plan_.hold) return fail("still held: " + row.key_text);
      if (row.kind == "quarantined")
        return fail("quarantined although nothing refuses it: " + row.key_text + " " + row.reason);
    }
  auto lost = ledger_.lost(present, listed);
  if (!lost.empty()) return fail("lost without a trace: " + std::to_string(lost.size()) + ", first " + lost[0]);
  // A row that waits for a person has no number yet, and one that was merged with another has the other's. What a node
  // that is put back had referred to may have got another number in the life that it lost (docs/guarantees.md).
  auto& first = *nodes_[members().front()]->store;
  std::string wrong = plan_.hold || plan_.merge || (plan_.backups && plan_.numbered)
                          ? ""
                          : Workload::wrong_reference(first, contested_rows());
  if (!wrong.empty()) return fail("wrong reference: " + wrong);
  for (std::size_t i : members()) look_for_twice(i, {"things", "names", "parts"});
  look_for_risen();
  if (outcome_.failure.empty()) check_rest();
  if (outcome_.failure.empty()) look_for_room();
}

// Two pointed their reference elsewhere, or one while the row was being renumbered. That is listed, under the number
// that the row had then.
std::set<std::string> ClusterRun::contested_rows() const {
  std::set<std::string> contested;
  std::multimap<std::string, std::string> renumbered;
  for (auto& node : nodes_)
    for (auto& conflict : node->store->conflicts()) {
      if (conflict.type == "update_origin_differs") contested.insert(conflict.table + conflict.key_text);
      std::size_t number = conflict.winner.find("\"id\":");
      if (conflict.resolution != "renumbered" || number == std::string::npos) continue;
      std::string to = std::to_string(std::stoll(conflict.winner.substr(number + 5)));
      renumbered.emplace(conflict.table + conflict.key_text, conflict.table + to);
    }
  for (std::size_t before = 0; before != contested.size();) {
    before = contested.size();
    for (auto& [from, to] : renumbered)
      if (contested.contains(from)) contested.insert(to);
  }
  add_those_of_other_numbers(contested);
  // Which row a line means that it wrote in the life it lost nobody knows any more; nor, if that row had got another
  // number in that life, what it means in a line that it wrote before it came back (105517).
  if (backup_.used && !plan_.numbered)
    for (auto& [key, row] : nodes_[members().front()]->store->rows("parts"))
      if (backup_.lost_parts.contains(std::string(decode_key(key)[0].text)))
        contested.insert("parts" + key_to_text(key));
  return contested;
}

bool ClusterRun::at_rest() const {
  for (std::size_t i : members()) {
    if (!nodes_[i]->node) return false;
    NodeStatus status = nodes_[i]->node->status();
    // A server that has heard two under one identity believes neither of them for a while.
    if (status.unsettled > status.side_rows || !status.blocked.empty()) return false;
  }
  return true;
}

bool ClusterRun::all_streaming() const {
  for (std::size_t i : members())
    if (nodes_[i]->node)
      for (auto& server : nodes_[i]->node->status().servers)
        if (server.state != "streaming") return false;
  return true;
}

// So far that its node becomes a new incarnation as soon as it hears that it may, and speaks again then.
bool ClusterRun::a_clock_is_ahead() const {
  auto all = members();
  return std::any_of(all.begin(), all.end(), [this](std::size_t i) {
    return hlc_to_ms(nodes_[i]->store->clock().now()) > now_ms_ + limits::own_clock_ahead_ms;
  });
}

std::uint64_t ClusterRun::documents_sent() const {
  std::uint64_t sent = 0;
  for (std::size_t i : members())
    if (nodes_[i]->node)
      for (auto& server : nodes_[i]->node->details()) sent += server.meters.documents_sent;
  return sent;
}

void ClusterRun::check_liveness() {
  Liveness most = plan_.liveness();
  auto late = [](const char* what, std::uint64_t took_ms, std::uint64_t at_most_ms) {
    return std::string("late: ") + what + " after " + std::to_string(took_ms / 1000) + " s, not within " +
           std::to_string(at_most_ms / 1000) + " s";
  };
  if (outcome_.equal_ms > most.equal_ms) return fail(late("equal", outcome_.equal_ms, most.equal_ms));
  if (outcome_.forgotten_ms > most.forgotten_ms)
    return fail(late("settled forgotten", outcome_.forgotten_ms, most.forgotten_ms));
}

// Nothing goes round in circles, and what is settled is forgotten.
void ClusterRun::check_rest() {
  auto carried = [this] {
    std::uint64_t rows = 0;
    for (std::size_t i : members())
      for (auto& server : nodes_[i]->node->status().servers) rows += server.rows_sent;
    return rows;
  };
  std::uint64_t before = carried();
  step_until(now_ms_ + plan_.rest_ms);
  if (!outcome_.failure.empty()) return;
  if (carried() != before) return fail("rows travel although nothing changes: echo");
  before = documents_sent();
  step_until(now_ms_ + plan_.rest_ms / 2);
  if (!outcome_.failure.empty()) return;
  if (documents_sent() != before) return fail("documents travel although all that is settled is forgotten");
  for (std::size_t i : members()) {
    NodeStatus status = nodes_[i]->node->status();
    if (!status.blocked.empty()) return fail("node " + std::to_string(i) + " is blocked: " + status.blocked);
    for (auto& server : status.servers)
      if (server.state != "streaming")
        return fail("node " + std::to_string(i) + " is '" + server.state + "' with " + server.name + ": " +
                    server.last_error);
    if (status.unsettled > status.side_rows)
      return fail("node " + std::to_string(i) + " does not forget: " + std::to_string(status.unsettled) +
                  " rows unsettled, " + std::to_string(status.side_rows) + " side rows");
  }
}

}  // namespace rowmesh::testing
