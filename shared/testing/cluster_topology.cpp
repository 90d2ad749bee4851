// Servers that come and go: links are added and removed, a node joins with a copy, a node leaves for good.
#include <algorithm>

#include "shared/sync/node_state.hpp"
#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {
namespace {
constexpr std::size_t most_joining = 2;
constexpr std::size_t fewest_members = 2;
}  // namespace

bool ClusterRun::linked(std::size_t i, std::size_t j) const {
  return std::find(edges_.begin(), edges_.end(), std::pair(std::min(i, j), std::max(i, j))) != edges_.end();
}

// Can the members reach each other, also without this edge and this node?
bool ClusterRun::connected_without(std::pair<std::size_t, std::size_t> edge, std::size_t leaver) const {
  std::set<std::size_t> members, reached;
  for (std::size_t i = 0; i < nodes_.size(); i++)
    if (!nodes_[i]->gone && !is_clone(i) && i != leaver) members.insert(i);
  std::vector<std::size_t> next = {*members.begin()};
  while (!next.empty()) {
    std::size_t at = next.back();
    next.pop_back();
    if (!reached.insert(at).second) continue;
    for (auto [i, j] : edges_) {
      if (std::pair(i, j) == edge || i == leaver || j == leaver) continue;
      if (i == at) next.push_back(j);
      if (j == at) next.push_back(i);
    }
  }
  return reached == members;
}

std::size_t ClusterRun::random_member() {
  std::size_t i = 0;
  do i = random_.below(nodes_.size());
  while (nodes_[i]->gone);
  return i;
}

// One side of a link.
void ClusterRun::add_server(std::size_t at, std::size_t to, bool hides) {
  ServerConfig server;
  server.name = "node" + std::to_string(to);
  server.url = hides ? "" : SimulatedNetwork::url(to);
  if (to == plan_.leaf()) {
    server.all_tables = false;
    server.tables = {"names"};
  }
  server.options.first_copy = plan_.first_copies;
  server.secret = "secret of " + std::to_string(std::min(at, to)) + " and " + std::to_string(std::max(at, to));
  nodes_[at]->store->add_server(server);
  nodes_[at]->wake_ms = std::min(nodes_[at]->wake_ms, now_ms_ + 1);
}

void ClusterRun::remove_server(std::size_t at, std::size_t from) {
  MemoryStore& store = *nodes_[at]->store;
  for (auto& server : store.servers())
    if (server.name == "node" + std::to_string(from)) {
      store.remove_server(server.id);
      break;
    }
  nodes_[at]->wake_ms = std::min(nodes_[at]->wake_ms, now_ms_ + 1);
}

void ClusterRun::add_link(std::size_t i, std::size_t j) {
  if (i > j) std::swap(i, j);
  // Now and then one of the two cannot be reached from outside and does all the asking.
  bool i_hides = plan_.pull && random_.chance(200);
  bool j_hides = !i_hides && plan_.pull && random_.chance(200);
  auto add = [this](std::size_t at, std::size_t to, bool hides) {
    SimulatedNode& here = *nodes_[at];
    if (!here.adds_late) return add_server(at, to, hides);
    here.unadded.emplace_back([=, this] {
      tell(std::to_string(at) + " adds " + std::to_string(to));
      add_server(at, to, hides);
    });
  };
  add(i, j, j_hides);
  add(j, i, i_hides);
  edges_.emplace_back(i, j);
}

void ClusterRun::add_what_is_left(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  here.adds_late = false;
  for (auto& add : std::exchange(here.unadded, {})) add();
}

// ---- in the middle of a run

// What a person has begun on one side, the other follows: at the next change, or when the faults end.
void ClusterRun::finish_topology() {
  for (auto& step : unfinished_) step();
  unfinished_.clear();
}

void ClusterRun::finish_one() {
  auto step = std::move(unfinished_.front());
  unfinished_.erase(unfinished_.begin());
  step();
}

void ClusterRun::change_topology() {
  for (std::size_t i : members()) look_at_copy(i);
  // A backup of before would bring other servers back than the ones that know this node, also of before the second side
  // was told: who is not told of a server any more waits for a person
  // (Histories.WhoIsPutBackToBeforeAServerWasAdded...).
  if (!backup_.used) backup_ = {};
  if (!unfinished_.empty()) return plan_.first_copies ? finish_one() : finish_topology();
  std::uint64_t what = random_.below(100);
  if (what < 35)
    link_two();
  else if (what < 65)
    unlink_two();
  else if (what < 80)
    join();
  else
    leave();
}

void ClusterRun::link_two() {
  if (!plan_.links) return;
  std::size_t i = random_member(), j = random_member();
  if (i == j || linked(i, j) || is_clone(i) || is_clone(j)) return;
  tell("link " + std::to_string(i) + " " + std::to_string(j));
  if (random_.chance(700)) return add_link(i, j);
  add_server(i, j, false);
  unfinished_.emplace_back([this, i, j] {
    add_server(j, i, false);
    edges_.emplace_back(std::min(i, j), std::max(i, j));
  });
}

void ClusterRun::unlink_two() {
  if (!plan_.links) return;
  auto edge = edges_[random_.below(edges_.size())];
  auto [i, j] = edge;
  if (!connected_without(edge, nodes_.size()) || nodes_[i]->joining || nodes_[j]->joining) return;
  bool both = random_.chance(600);
  tell("unlink " + std::to_string(i) + " " + std::to_string(j) + (both ? "" : ", one side first"));
  std::erase(edges_, edge);
  if (random_.chance(500)) std::swap(i, j);
  remove_server(i, j);
  if (both) return remove_server(j, i);
  unfinished_.emplace_back([this, i = i, j = j] { remove_server(j, i); });
}

// It is built empty, added on both sides, and copies.
void ClusterRun::join() {
  if (!plan_.joins || joined_ == most_joining) return;
  std::size_t first = random_member(), second = random_member();
  // Who has no copy itself yet has none to give, nor who is to take one since it was put back.
  if (nodes_[first]->joining || (backup_.used && backup_.node == first)) return;
  if (is_clone(first) || is_clone(second)) return;
  joined_++;
  std::size_t i = nodes_.size();
  build_node(i);
  tell("node " + std::to_string(i) + " joins at " + std::to_string(first));
  bool hides = plan_.pull && random_.chance(200);
  add_server(first, i, hides);
  add_server(i, first, false);
  edges_.emplace_back(first, i);
  if (plan_.first_copies)
    link_one_after_another(i, first);
  else if (second != first && random_.chance(500))
    add_link(second, i);
  nodes_[i]->joining = true;
  start(i);
  if (plan_.first_copies && random_.chance(700)) {
    nodes_[i]->copies_by_itself = true;
    return;
  }
  nodes_[i]->copy_from = "node" + std::to_string(first);
  nodes_[i]->copies_late = plan_.copies && random_.chance(500);
  if (!nodes_[i]->copies_late) ask_for_copy(i, nodes_[i]->copy_from);
}

// The others are added later, on one side first now and then.
void ClusterRun::link_one_after_another(std::size_t i, std::size_t first) {
  for (std::size_t other : members()) {
    if (other == i || other == first || is_clone(other) || random_.chance(400)) continue;
    bool joiner_first = random_.chance(500);
    std::size_t one = joiner_first ? i : other, two = joiner_first ? other : i;
    unfinished_.emplace_back([this, one, two] { add_server(one, two, false); });
    unfinished_.emplace_back([this, one, two] {
      add_server(two, one, false);
      edges_.emplace_back(std::min(one, two), std::max(one, two));
    });
  }
}

// What was written there before may have been removed elsewhere since, so a person has to say how.
void ClusterRun::ask_for_copy(std::size_t i, const std::string& server) {
  nodes_[i]->copy_ended.clear();
  const char* how = nodes_[i]->copies_late ? R"(,"on_existing":"newer"})" : "}";
  nodes_[i]->store->request("copy", R"({"server":")" + server + R"(","direction":"pull")" + how);
  nodes_[i]->wake_ms = std::min(nodes_[i]->wake_ms, now_ms_ + 1);
}

// What a person reads in the log, also when the process that wrote it is no more: a copy that ended with an error is
// asked for again.
void ClusterRun::read_log(std::size_t i, const std::string& line) {
  constexpr std::string_view begin = "copy with server '", ended = "' ended: ";
  nodes_[i]->copied |= line.starts_with(begin) && line.find("' done: ") != line.npos;
  if (line.starts_with(begin) && line.find(ended) != line.npos) nodes_[i]->copy_ended = line;
}

void ClusterRun::look_at_copy(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  if (!here.joining || !here.node || !here.store->requests().empty()) return;
  if (here.copies_by_itself && !here.copied) return;
  if (here.copies_late && !here.asked_late) {
    if (!healing_ && !random_.chance(200)) return;
    here.asked_late = true;
    tell(std::to_string(i) + " copies from " + here.copy_from + " at last");
    return ask_for_copy(i, here.copy_from);
  }
  if (!here.copy_ended.empty()) return ask_for_copy(i, here.copy_from);
  here.joining = false;
  tell(std::to_string(i) + " has got its copy");
}

// A person has two servers copied though they have all, or each from all others: nothing may come of it.
void ClusterRun::copy(std::size_t i) {
  if (random_.chance(250)) {
    for (auto [one, other] : edges_) copy(one, other), copy(other, one);
    return;
  }
  auto edge = edges_[random_.below(edges_.size())];
  if (edge.first == i || edge.second == i) copy(i, edge.first == i ? edge.second : edge.first);
}

void ClusterRun::copy(std::size_t i, std::size_t j) {
  if (backup_.used) return;
  for (std::size_t one : {i, j})
    if (nodes_[one]->joining || nodes_[one]->gone || is_clone(one) || one == plan_.leaf()) return;
  std::string mode = std::vector{"fail", "source", "newer"}[random_.below(3)];
  std::string direction = random_.chance(500) ? "pull" : "push";
  tell(std::to_string(i) + " copies with " + std::to_string(j) + ": " + direction + ", " + mode);
  nodes_[i]->store->request("copy", R"({"server":"node)" + std::to_string(j) + R"(","direction":")" + direction +
                                        R"(","on_existing":")" + mode + "\"}");
  nodes_[i]->wake_ms = std::min(nodes_[i]->wake_ms, now_ms_ + 1);
}

// A machine is gone for good: it is removed everywhere. Those that only it held together are linked first.
void ClusterRun::leave() {
  if (!plan_.leaves) return;
  std::size_t leaver = random_member();
  std::vector<std::size_t> all = members();
  if (all.size() == fewest_members || (clone_.node != 0 && !clone_.added)) return;
  for (std::size_t i : all) {
    if (nodes_[i]->joining) return;  // perhaps from it
    // What came to a table that waits went by: only who made it could send it again.
    // (As it is at this moment: what was published is up to a tenth of a second old.)
    auto& running = nodes_[i]->node;
    if (!(running ? running->status() : nodes_[i]->store->status()).waiting.empty()) return;
    // Who has never heard of another has nothing for it but a copy.
    std::string state = nodes_[i]->store->stored_state();
    if (state.empty() || NodeState::decode(state).members.size() < nodes_.size()) return;
  }
  tell("node " + std::to_string(leaver) + " leaves for good");
  SimulatedNode& gone = *nodes_[leaver];
  if (gone.node) stop(leaver);
  gone.gone = true;
  gone.workload.forget_prepared();
  gone.wake_ms = ~std::uint64_t{0};
  std::vector<std::size_t> neighbours;
  for (auto [i, j] : edges_)
    if (i == leaver || j == leaver) neighbours.push_back(i == leaver ? j : i);
  std::erase_if(edges_, [&](auto& edge) { return edge.first == leaver || edge.second == leaver; });
  for (std::size_t n = 1; n < neighbours.size() && !connected_without({0, 0}, leaver); n++)
    if (!linked(neighbours[n - 1], neighbours[n])) add_link(neighbours[n - 1], neighbours[n]);
  forgive_unsent(leaver);
  bool at_once = random_.chance(500);
  for (std::size_t neighbour : neighbours) {
    auto remove = [this, neighbour, leaver] { remove_server(neighbour, leaver); };
    if (at_once || neighbour == neighbours.front())
      remove();
    else
      unfinished_.emplace_back(remove);
  }
}

// What it had sent to nobody is gone with it, and what it alone had of those that left before.
void ClusterRun::forgive_unsent(std::size_t leaver) {
  std::set<std::string> got, listed, had;
  for (std::size_t i = 0; i < nodes_.size(); i++) {
    if (nodes_[i]->gone) continue;
    collect_present(i, got);
    collect_listed(i, listed);
  }
  got.insert(listed.begin(), listed.end());
  ledger_.forgive_unless("node " + std::to_string(leaver), got);
  collect_present(leaver, had);
  for (std::size_t i = 0; i < nodes_.size(); i++)
    if (nodes_[i]->gone && i != leaver) ledger_.forgive_those("node " + std::to_string(i), had, got);
}

}  // namespace rowmesh::testing
