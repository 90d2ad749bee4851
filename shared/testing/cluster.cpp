#include "shared/testing/cluster.hpp"

#include <utility>

#include "shared/testing/cluster_run.hpp"

namespace rowmesh::testing {
namespace {
constexpr std::uint64_t quiet_ms = 3000;           // longer than heartbeats are apart
constexpr std::uint64_t prune_interval_ms = 3000;  // PgStore's
}  // namespace

ClusterRun::ClusterRun(const Plan& plan, bool keep_story)
    : plan_(plan),
      random_(plan.seed),
      keep_story_(keep_story),
      network_(now_ms_, random_, [this](const std::string& line) {
        outcome_.requests++;
        tell(line);
      }) {
  for (std::size_t i = 0; i < plan.nodes; i++) build_node(i);
  for (std::size_t i = 0; plan.late && i < plan.nodes; i++)
    nodes_[i]->adds_late = may_add_late(i) && random_.chance(500);
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
  if (!sqlite) node->store->prune_interval_ms = prune_interval_ms;
  Workload::create_tables(*node->store, plan_);
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
      add_link(i, j);
    }
}

// Who adds its servers late writes nothing before, and what the others write meanwhile must come to it. That is
// promised of those who have added it themselves, so not of who is behind a server that has not.
bool ClusterRun::may_add_late(std::size_t i) const {
  bool inner = plan_.topology == Topology::ring || (plan_.topology == Topology::star && i == 0) ||
               (plan_.topology == Topology::chain && i != 0 && i + 1 != plan_.nodes);
  return !plan_.topology_changes() && (plan_.topology == Topology::mesh || plan_.nodes == 2 || !inner);
}

// ---- processes

void ClusterRun::start(std::size_t i) {
  SimulatedNode& here = *nodes_[i];
  here.node = std::make_unique<Node>(NodeServices{*here.store, here.wall, here.random, network_.client(i),
                                                  [this, i](char level, const std::string& text) {
                                                    tell(std::to_string(i) + " [" + level + "] " + text);
                                                    read_log(i, text);
                                                  },
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
  std::uint64_t wanted = 0;
  discarding(i, [&] { wanted = here.node->tick(); });
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
  for (std::size_t i = 0; i < nodes_.size(); i++)
    if (nodes_[i]->store->in_transaction()) fail("node " + std::to_string(i) + " leaves a transaction open");
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
    watch();
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
    transact(random_member());
    if (random_.chance(200)) disturb();
  }
  if (outcome_.failure.empty()) heal();
  settle();
  if (outcome_.failure.empty()) check();
  if (outcome_.failure.empty()) check_liveness();
}

// Until all are equal, and then until what is settled is forgotten.
void ClusterRun::settle() {
  std::uint64_t healed = now_ms_;
  auto step_while = [&](std::uint64_t at_most_ms, const std::function<bool()>& unfinished) {
    while (outcome_.failure.empty() && unfinished() && now_ms_ < healed + at_most_ms) {
      step_until(now_ms_ + 1000);
      if (backup_.used || plan_.topology_changes() || clone_.node != 0) obey();
    }
    return now_ms_ - healed;
  };
  outcome_.equal_ms = step_while(plan_.joins || plan_.clones ? 260000 : 120000, [&] { return !difference().empty(); });
  // A row beside the table may be all that is not forgotten, or may wait for more: heartbeats tell.
  std::uint64_t sent = documents_sent(), quiet_since = now_ms_;
  std::uint64_t forgotten_at_most_ms = plan_.joins ? 410000 : 270000;
  auto busy = [&] {
    if (std::exchange(sent, documents_sent()) != sent) quiet_since = now_ms_;
    return !at_rest() || now_ms_ < quiet_since + quiet_ms;
  };
  outcome_.forgotten_ms = step_while(forgotten_at_most_ms, busy);
  // A request that was lost before the faults ended is given up in its time, up to 90 s after it was sent. Until then
  // that line is silent, and looks like one at rest; then its node tries again, and says where it stands.
  step_while(forgotten_at_most_ms, [&] {
    bool still_busy = busy();
    bool doubtful = clone_.unnoticed && (!clone_.added || now_ms_ < clone_.doubted_until_ms);
    return still_busy || network_.waits_from_before_healing() || !all_streaming() || doubtful || a_clock_is_ahead();
  });
  std::uint64_t rest = now_ms_ + plan_.rest_ms - healed;
  step_while(rest, [] { return true; });
}

Outcome run_plan(const Plan& plan, bool keep_story) { return ClusterRun(plan, keep_story).run(); }

}  // namespace rowmesh::testing
