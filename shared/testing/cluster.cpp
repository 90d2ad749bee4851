#include "shared/testing/cluster.hpp"

#include <algorithm>

#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {
namespace {
// Longer than clocks are apart: what the restored node writes is newer than what it had written before.
constexpr std::uint64_t raced_at_most = 8;  // times the planned transactions
constexpr std::uint64_t restoring_ms = 12000;
}  // namespace

const char* to_string(Topology topology) {
  constexpr const char* names[] = {"mesh", "star", "chain", "ring"};
  return names[static_cast<std::size_t>(topology)];
}

Plan Plan::random(std::uint64_t seed) {
  SeededRandom random(seed * 2654435761 + 17);
  Plan plan;
  plan.seed = seed;
  constexpr std::size_t sizes[] = {2, 2, 3, 3, 3, 4, 5, 7};
  plan.nodes = sizes[random.below(std::size(sizes))];
  plan.topology = static_cast<Topology>(random.below(4));
  plan.transactions = 15 + static_cast<unsigned>(random.below(80));
  // Each thing is left out now and then, so that a failure does not always come with everything else.
  for (bool Plan::*feature :
       {&Plan::integer_keys, &Plan::natural_keys, &Plan::uniques, &Plan::truncates, &Plan::prepared, &Plan::crashes,
        &Plan::partitions, &Plan::weather, &Plan::races, &Plan::skew, &Plan::refusals, &Plan::pull, &Plan::mixed})
    plan.*feature = !random.chance(250);
  if (!plan.integer_keys) plan.natural_keys = true;
  plan.schemas = random.chance(250);
  plan.proxies = random.chance(400);
  plan.full_disks = random.chance(400);
  return plan;
}

Plan Plan::without(std::initializer_list<bool Plan::*> features) const {
  Plan plan = *this;
  for (bool Plan::*feature : features) plan.*feature = false;
  return plan;
}

std::string Plan::text() const {
  std::string text = "seed " + std::to_string(seed) + ", " + std::to_string(nodes) + " nodes, " + to_string(topology) +
                     ", " + std::to_string(transactions) + " transactions";
  auto add = [&](bool on, const char* name) { text += on ? std::string(" ") + name : ""; };
  add(integer_keys, "integer"), add(natural_keys, "natural"), add(uniques, "unique"), add(truncates, "truncate");
  add(prepared, "prepared"), add(crashes, "crash"), add(partitions, "partition"), add(weather, "weather"),
      add(races, "race");
  add(two_uniques, "two_uniques");
  add(skew, "skew"), add(refusals, "refuse"), add(pull, "pull"), add(mixed, "mixed"), add(schemas, "schema");
  add(proxies, "proxy"), add(full_disks, "full"), add(backups, "backup");
  return text;
}

ClusterRun::ClusterRun(const Plan& plan, bool keep_story)
    : plan_(plan),
      random_(plan.seed),
      keep_story_(keep_story),
      network_(now_ms_, random_, [this](const std::string& line) {
        outcome_.requests++;
        tell(line);
      }) {
  for (std::size_t i = 0; i < plan.nodes; i++) build_node(i);
  link();
  for (std::size_t i = 0; i < plan.nodes; i++) start(i);
}

void ClusterRun::build_node(std::size_t i) {
  auto node = std::make_unique<SimulatedNode>(now_ms_, random_.next());
  if (plan_.skew) node->wall.skew_ms = static_cast<std::int64_t>(random_.below(8001)) - 4000;
  std::string uuid = "00000000-0000-4000-8000-" + to_hex(i).substr(4);
  bool sqlite = plan_.mixed && random_.chance(400);
  node->store = std::make_unique<MemoryStore>(Identity{uuid, random_.next() | 1, "node" + std::to_string(i)},
                                              node->wall, sqlite ? Flavour::single_writer : Flavour::snapshot);
  Workload::create_tables(*node->store, plan_.uniques, plan_.two_uniques);
  node->store->set("enabled", "on");
  node->store->on_point = [this, i](Point point) { reach(i, point); };
  nodes_.push_back(std::move(node));
}

void ClusterRun::link() {
  for (std::size_t i = 0; i < plan_.nodes; i++)
    for (std::size_t j = i + 1; j < plan_.nodes; j++) {
      bool linked = plan_.topology == Topology::mesh || (plan_.topology == Topology::star && i == 0) ||
                    (plan_.topology != Topology::star && j == i + 1) ||
                    (plan_.topology == Topology::ring && i == 0 && j == plan_.nodes - 1);
      if (!linked) continue;
      // Now and then one of the two cannot be reached from outside and does all the asking.
      bool i_hides = plan_.pull && random_.chance(200);
      bool j_hides = !i_hides && plan_.pull && random_.chance(200);
      std::string secret = "secret of " + std::to_string(i) + " and " + std::to_string(j);
      auto add = [&](std::size_t at, std::size_t to, bool hides) {
        ServerConfig server;
        server.name = "node" + std::to_string(to);
        server.url = hides ? "" : SimulatedNetwork::url(to);
        server.secret = secret;
        nodes_[at]->store->add_server(server);
      };
      add(i, j, j_hides);
      add(j, i, i_hides);
      edges_.push_back({i, j});
    }
}

// ---- processes

void ClusterRun::start(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  here.node = std::make_unique<Node>(NodeServices{
      *here.store, here.wall, here.random, network_.client(i),
      [this, i](char level, const std::string& text) { tell(std::to_string(i) + " [" + level + "] " + text); },
      [this, i] { network_.run_due_for(i); }});
  try {
    here.node->start();
  } catch (const Error& failure) {
    tell(std::to_string(i) + " does not start: " + failure.what());
    if (failure.kind() != ErrorKind::transient)
      fail("node " + std::to_string(i) + " does not start: " + failure.what());
    return stop(i);
  } catch (const Crash&) {
    return stop(i);
  }
  tell(std::to_string(i) + " is up");
  network_.attach(i, here.node.get());
  here.wake_ms = now_ms_;
}

void ClusterRun::stop(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  outcome_.crashes++;
  tell(std::to_string(i) + " is down");
  network_.attach(i, nullptr);
  here.node.reset();
  here.store->crash();
  here.wake_ms = now_ms_ + 1 + random_.below(healing_ ? 10 : 4000);
}

void ClusterRun::tick(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  if (!here.node) return start(i);
  std::uint64_t wanted = here.node->tick();
  auto simulated = static_cast<std::uint64_t>(static_cast<std::int64_t>(wanted) - here.wall.skew_ms);
  here.wake_ms = std::max(now_ms_ + 1, simulated);
}

void ClusterRun::guarded(std::size_t& at, const std::function<void()>& action) {
  try {
    action();
  } catch (const Crash& crash) {
    stop(crash.node);
  } catch (const std::exception& failure) {
    fail("node " + std::to_string(at) + " throws: " + failure.what());
    stop(at);
  }
}

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
  // A raced transaction makes documents, whose applying is raced again: without an end some seeds grew for ever.
  if (plan_.races && outcome_.commits < raced_at_most * plan_.transactions &&
      (point == Point::at_begin || point == Point::before_find) && random_.chance(100))
    transact(i);
}

// ---- what happens

void ClusterRun::transact(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  if (here.store->in_local() || here.writing || here.full || now_ms_ < here.closed_until_ms) return;
  here.writing = true;
  std::string story = here.workload(plan_, ledger_, random_, i);
  here.writing = false;
  if (!story.empty()) outcome_.commits++;
  tell(std::to_string(i) + " writes " + (story.empty() ? "nothing" : story));
  here.wake_ms = std::min(here.wake_ms, now_ms_ + random_.below(4));
}

void ClusterRun::disturb() {
  std::size_t i = random_.below(nodes_.size());
  SimulatedNode& here = *nodes_[i];
  if (plan_.full_disks && random_.chance(300)) {
    here.full = !here.full;
    return tell(std::to_string(i) + (here.full ? "'s disk is full" : "'s disk has room again"));
  }
  if (plan_.backups && random_.chance(200)) return backup_or_restore(i);
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
        here.wall.skew_ms = static_cast<std::int64_t>(random_.below(8001)) - 4000;
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

// One node of a run loses what it did since its backup, as it would by a machine that is set up anew.
void ClusterRun::backup_or_restore(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  if (!backup_.put_back) {
    if (here.workload.has_prepared()) return;
    backup_ = {i, here.store->backup(), ledger_.now(), false};
    return tell("backup of " + std::to_string(i));
  }
  if (backup_.used) return;
  backup_.used = true;
  SimulatedNode& lost = *nodes_[backup_.node];
  if (lost.node) stop(backup_.node);
  for (auto& conflict : lost.store->conflicts())
    for (auto& value : Ledger::values_in(conflict.loser)) ledger_.forget(value);
  backup_.put_back();
  lost.wake_ms = lost.closed_until_ms = now_ms_ + restoring_ms;
  lost.workload.forget_prepared();
  ledger_.forgive("node " + std::to_string(backup_.node), backup_.ledger);
  tell("the backup of " + std::to_string(backup_.node) + " is put back");
}

// What the status asks a person for.
void ClusterRun::obey() {
  for (std::size_t i = 0; i < nodes_.size(); i++) {
    SimulatedNode& here = *nodes_[i];
    if (!here.node || !here.store->requests().empty()) continue;
    NodeStatus status = here.node->status();
    if (status.identity == "restored") {
      tell(std::to_string(i) + " gets a new identity");
      here.store->request("new_identity", "restored");
      here.wake_ms = now_ms_;
      continue;
    }
    for (auto& server : status.servers)
      if (server.state == "needs copy" && server.last_error.find("here with") != std::string::npos) {
        tell(std::to_string(i) + " copies from " + server.name);
        here.store->request("copy", R"({"server":")" + server.name + R"(","direction":"pull","on_existing":"source"})");
        here.wake_ms = now_ms_;
        break;
      }
  }
}

void ClusterRun::step_until(std::uint64_t until_ms) {
  while (outcome_.failure.empty()) {
    std::uint64_t next = network_.next_ms();
    std::size_t who = nodes_.size();
    for (std::size_t i = 0; i < nodes_.size(); i++)
      if (nodes_[i]->wake_ms < next) {
        next = nodes_[i]->wake_ms;
        who = i;
      }
    if (next > until_ms) break;
    now_ms_ = std::max(now_ms_, next);
    if (++steps_ > 400000) return fail("the nodes never come to rest: 400000 events");
    bool network = who == nodes_.size();
    if (network) {
      guarded(who, [&] { network_.run_next(who); });
      // A wake-up of the event loop is followed by a tick, as in the real worker.
      if (nodes_[who]->node) nodes_[who]->wake_ms = now_ms_;
    } else {
      guarded(who, [&] { tick(who); });
    }
  }
  now_ms_ = std::max(now_ms_, until_ms);
}

Outcome ClusterRun::run() {
  try {
    live();
  } catch (const std::exception& failure) {
    fail(std::string("the application throws: ") + failure.what());
  }
  outcome_.virtual_ms = now_ms_ - start_ms;
  for (auto& node : nodes_) outcome_.conflicts += node->store->conflicts().size();
  return std::move(outcome_);
}

void ClusterRun::live() {
  for (unsigned done = 0; done < plan_.transactions && outcome_.failure.empty(); done++) {
    step_until(now_ms_ + random_.below(random_.chance(100) ? 5000 : 150));
    transact(random_.below(nodes_.size()));
    if (random_.chance(200)) disturb();
  }
  if (outcome_.failure.empty()) heal();
  std::uint64_t healed = now_ms_;
  for (int round = 0; round < 120 && outcome_.failure.empty(); round++) {
    step_until(now_ms_ + 1000);
    if (backup_.used) obey();
    if (difference().empty()) break;
  }
  outcome_.healing_ms = now_ms_ - healed;
  // A request that was lost silences a link for as long as it may take; then what is settled is forgotten within
  // seconds.
  for (int round = 0; round < 150 && outcome_.failure.empty() && (round < 20 || !at_rest()); round++) {
    step_until(now_ms_ + 1000);
    if (backup_.used) obey();
  }
  if (outcome_.failure.empty()) check();
}

void ClusterRun::heal() {
  tell("---- healing");
  healing_ = true;
  network_.heal();
  for (auto& node : nodes_) {
    node->wall.skew_ms = 0;
    node->full = false;
    node->workload.finish(ledger_, random_);
    node->store->remove_checks("things");
    node->store->remove_checks("names");
    for (const char* table : {"things", "names"}) Workload::rename_column(*node->store, table, false);
    node->wake_ms = std::max(now_ms_, node->closed_until_ms);
  }
}

// ---- the checks

void ClusterRun::fail(const std::string& why) {
  if (outcome_.failure.empty()) outcome_.failure = why;
  tell("FAILURE " + why);
}

void ClusterRun::tell(const std::string& line) {
  for (char byte : line) outcome_.trace = (outcome_.trace ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  outcome_.trace += now_ms_;
  if (keep_story_) outcome_.story.push_back(std::to_string(now_ms_ - start_ms) + " " + line);
}

std::string ClusterRun::difference() const {
  for (auto& node : nodes_)
    if (!node->node) return "a node is down";
  for (const char* table : {"things", "names", "parts"})
    for (std::size_t i = 1; i < nodes_.size(); i++) {
      std::string difference = Workload::difference(*nodes_[0]->store, *nodes_[i]->store, table);
      if (!difference.empty()) return std::string(table) + " of 0 and " + std::to_string(i) + ": " + difference;
    }
  auto hidden = [](const SimulatedNode& node) {
    std::set<std::string> keys;
    for (auto& row : node.store->load_side())
      keys.insert(std::to_string(row.table) + " " + row.kind + " " + row.key_text);
    return keys;
  };
  for (std::size_t i = 1; i < nodes_.size(); i++)
    if (hidden(*nodes_[0]) != hidden(*nodes_[i])) {
      std::string text = "side rows of 0 and " + std::to_string(i) + ":";
      for (auto& key : hidden(*nodes_[0])) text += " " + key;
      text += " |";
      for (auto& key : hidden(*nodes_[i])) text += " " + key;
      return text;
    }
  return "";
}

void ClusterRun::check() {
  if (std::string different = difference(); !different.empty()) return fail("diverged: " + different);
  std::set<std::string> present, listed;
  for (auto& node : nodes_) {
    for (const char* table : {"things", "names", "parts"})
      for (auto& [key, row] : node->store->rows(table))
        for (const Value& value : row.values.view())
          if (value.kind == ValueKind::text) present.insert(std::string(value.text));
    for (auto& row : node->store->load_side()) {
      for (auto& value : Ledger::values_in(row.payload)) present.insert(value);
      if (row.kind == "held") return fail("still held: " + row.key_text);
      if (row.kind == "quarantined")
        return fail("quarantined although nothing refuses it: " + row.key_text + " " + row.reason);
    }
    for (auto& conflict : node->store->conflicts())
      for (auto& value : Ledger::values_in(conflict.loser)) listed.insert(value);
  }
  auto lost = ledger_.lost(present, listed);
  if (!lost.empty()) return fail("lost without a trace: " + std::to_string(lost.size()) + ", first " + lost[0]);
  if (std::string wrong = Workload::wrong_reference(*nodes_[0]->store); !wrong.empty())
    return fail("wrong reference: " + wrong);
  check_rest();
}

bool ClusterRun::at_rest() const {
  for (auto& node : nodes_) {
    if (!node->node) return false;
    NodeStatus status = node->node->status();
    if (status.unsettled > status.side_rows) return false;
  }
  return true;
}

// Nothing goes round in circles, and what is settled is forgotten.
void ClusterRun::check_rest() {
  auto carried = [this] {
    std::uint64_t rows = 0;
    for (auto& node : nodes_)
      for (auto& server : node->node->status().servers) rows += server.rows_sent;
    return rows;
  };
  std::uint64_t before = carried();
  step_until(now_ms_ + 20000);
  if (!outcome_.failure.empty()) return;
  if (carried() != before) return fail("rows travel although nothing changes: echo");
  for (std::size_t i = 0; i < nodes_.size(); i++) {
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

Outcome run_plan(const Plan& plan, bool keep_story) { return ClusterRun(plan, keep_story).run(); }

}  // namespace rowmesh::testing
