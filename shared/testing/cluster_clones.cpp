// A node's store is copied while the node runs, and the copy runs beside it: it becomes a node of its own, at once or
// when somebody has heard both.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_state.hpp"
#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {

namespace {

constexpr std::uint64_t doubted_ms = 40000;  // the time that turns count for (identity.cpp), and one between greetings

}  // namespace

bool ClusterRun::is_ahead(const SimulatedNode& node) const {
  return hlc_to_ms(node.store->clock().now()) > now_ms_ + limits::clock_ahead_ms;
}

// Where a clock is set right, what nobody has yet is given anew, by the copy and by the original, under two names
// (docs/guarantees.md, "Known gaps").
bool ClusterRun::may_be_copied(const SimulatedNode& node) const {
  NodeStatus status = node.node->status();
  return !is_ahead(node) && std::all_of(status.servers.begin(), status.servers.end(),
                                        [](const ServerStatus& server) { return server.queued == 0; });
}

// A copy that it was asked to take before waits until then.
bool ClusterRun::waits_for_identity(const SimulatedNode& node) {
  auto requests = node.store->requests();
  return std::any_of(requests.begin(), requests.end(),
                     [](const Request& request) { return request.kind == "new_identity"; });
}

// A copy of a node that has not heard its servers is to them like any other database with rows: a person copies.
bool ClusterRun::has_heard_servers(std::size_t i) const {
  std::string bytes = nodes_[i]->store->stored_state();
  if (bytes.empty()) return false;
  NodeState state = NodeState::decode(bytes);
  for (const ServerConfig& server : nodes_[i]->store->servers()) {
    auto known = state.servers.find(server.id);
    if (known == state.servers.end() || !state.applied.contains(known->second.origin)) return false;
  }
  return true;
}

void ClusterRun::clone(std::size_t i) {
  if (clone_.node != 0) return look_at_clone();
  SimulatedNode& here = *nodes_[i];
  if (!here.node || here.full || here.joining || here.gone || here.workload.has_prepared() || i == plan_.leaf()) return;
  if (backup_.put_back && backup_.node == i) return;
  if (!all_added() || !has_heard_servers(i)) return;
  // What nobody has read yet the copy would take for its own (docs/guarantees.md, "Known gaps").
  guarded(i, [&] { here.node->remember(); });
  if (!here.node || here.store->log_unread()) return;
  if (plan_.clocks && !may_be_copied(here)) return;
  clone_.of = i;
  clone_.node = nodes_.size();
  build_node(clone_.node);
  SimulatedNode& copy = *nodes_[clone_.node];
  // Where it comes to nobody, nobody hears it.
  auto servers = here.store->servers();
  bool comes =
      std::any_of(servers.begin(), servers.end(), [](const ServerConfig& server) { return !server.url.empty(); });
  bool elsewhere = random_.chance(700) || !comes;
  clone_.unnoticed = !elsewhere;
  clone_.ledger = ledger_.now();
  std::set<std::string> had;
  for (std::size_t other = 0; other < clone_.node; other++) collect_present(other, other == i ? had : clone_.under_way);
  std::erase_if(clone_.under_way, [&](const std::string& value) { return had.contains(value); });
  copy.store->become_copy_of(*here.store, elsewhere);
  note_numbers(clone_.node);  // what it removes before it comes back it may have referred to
  // Where the clock is ahead of the time of day both would count on from one version, and give the same ones.
  copy.store->clock().observe(copy.store->clock().now() + ms_to_hlc(1));
  tell("node " + std::to_string(clone_.node) + " is a copy of " + std::to_string(i) +
       (elsewhere ? "" : " and does not notice"));
  start(clone_.node);
}

// What its status asks for, or that of the other one: who says that one of the two is a copy does not know which.
void ClusterRun::look_at_clone() {
  if (clone_.node == 0 || clone_.added) return;
  SimulatedNode& copy = *nodes_[clone_.node];
  if (copy.store->identity().node != nodes_[clone_.of]->store->identity().node) return add_clone();
  if (!copy.node || waits_for_identity(copy)) return;
  SimulatedNode& other = *nodes_[clone_.of];
  bool other_says = other.node && other.node->status().identity == "copied";
  // Where each link that it knows is gone it comes to nobody, and its status says that nobody knows it.
  auto servers = copy.store->servers();
  bool comes = std::any_of(servers.begin(), servers.end(), [this](auto& server) { return goes_to_original(server); });
  if (copy.node->status().identity.empty() && !other_says && comes) return;
  tell(std::to_string(clone_.node) + " gets an identity of its own");
  copy.store->request("new_identity", "copied");
  copy.wake_ms = now_ms_;
}

// It runs under another node's identity, and nobody has it as a server.
bool ClusterRun::is_clone(std::size_t i) const { return clone_.node != 0 && i == clone_.node && !clone_.added; }

// A row may have got another number since, which everybody has forgotten. What is written to it under the former one by
// who comes back is then written to whichever row has that now (docs/guarantees.md, "Known gaps").
void ClusterRun::note_numbers(std::size_t i) {
  for (const char* table : {"things", "parts"})
    for (auto& [key, row] : nodes_[i]->store->rows(table))
      for (const Value& value : row.values.view())
        if (value.kind == ValueKind::text) had_numbers_.emplace(Ledger::name_of(value.text), table + key_to_text(key));
}

// Who gave it another one has listed that.
bool ClusterRun::had_other_number(const std::string& value) const {
  auto [begin, end] = had_numbers_.equal_range(value);
  if (begin == end) return false;
  for (auto& node : nodes_)
    for (auto& conflict : node->store->conflicts()) {
      if (conflict.resolution != "renumbered") continue;
      bool then = conflict.loser.find('"' + value + '"') != std::string::npos ||
                  conflict.loser.find('"' + value + Ledger::padding) != std::string::npos;
      std::string number = conflict.table + conflict.key_text;
      if (then && std::any_of(begin, end, [&](auto& had) { return had.second == number; })) return true;
    }
  return false;
}

// Rows that refer to such a row.
void ClusterRun::add_those_of_other_numbers(std::set<std::string>& rows) const {
  for (auto [table, column] : {std::pair("parts", 3), std::pair("things", 5)})
    for (auto& [key, row] : nodes_[members().front()]->store->rows(table))
      if (auto values = row.values.view(); values.size() > static_cast<std::size_t>(column))
        if (had_other_number(Ledger::name_of(values[static_cast<std::size_t>(column)].text)))
          rows.insert(table + key_to_text(key));
}

static bool has_server(MemoryStore& store, const std::string& name) {
  auto servers = store.servers();
  return std::any_of(servers.begin(), servers.end(), [&](const ServerConfig& server) { return server.name == name; });
}

// Does this server have the other one still?
bool ClusterRun::goes_to_original(const ServerConfig& server) {
  return linked(clone_.of, std::stoul(server.name.substr(4))) && has_server(*nodes_[clone_.of]->store, server.name);
}

// What was linked to the other one, or no more, while the copy ran.
void ClusterRun::make_servers_those_of_original() {
  MemoryStore &original = *nodes_[clone_.of]->store, &copy = *nodes_[clone_.node]->store;
  for (const ServerConfig& server : copy.servers())
    if (!goes_to_original(server)) copy.remove_server(server.id);
  for (ServerConfig server : original.servers()) {
    if (!goes_to_original(server) || has_server(copy, server.name)) continue;
    server.start_state.clear();
    copy.add_server(server);
  }
}

// The servers of the other one get it as one more, by the same secret.
void ClusterRun::add_clone() {
  clone_.added = true;
  clone_.doubted_until_ms = now_ms_ + doubted_ms;
  // What the one had told of itself counted as said by the other, so what these two wrote, and what they replaced, may
  // count as seen by who had not seen it (docs/guarantees.md, "Known gaps").
  if (clone_.unnoticed) {
    ledger_.forgive_between(clone_.ledger, ledger_.now());
    for (const std::string& value : clone_.under_way) ledger_.forget(value);
  }
  note_numbers(clone_.node);
  std::string of = "node" + std::to_string(clone_.of);
  make_servers_those_of_original();
  for (auto [one, other] : std::vector(edges_)) {
    if (one != clone_.of && other != clone_.of) continue;
    std::size_t neighbour = one == clone_.of ? other : one;
    edges_.emplace_back(std::min(neighbour, clone_.node), std::max(neighbour, clone_.node));
    MemoryStore& store = *nodes_[neighbour]->store;
    for (ServerConfig server : store.servers())
      if (server.name == of) {
        server.name = "node" + std::to_string(clone_.node);
        if (!server.url.empty()) server.url = SimulatedNetwork::url(clone_.node);
        server.start_state.clear();
        store.add_server(server);
        nodes_[neighbour]->wake_ms = std::min(nodes_[neighbour]->wake_ms, now_ms_ + 1);
        break;
      }
  }
  tell("the servers of " + of + " have its copy as a server");
}

}  // namespace rowmesh::testing
