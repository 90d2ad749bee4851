#include <gtest/gtest.h>

#include <chrono>

#include "shared/testing/cluster.hpp"

namespace rowmesh::testing {
namespace {

// The calm half of what rowmesh_sim can do: no crash, no race, no fault. What is open beyond it stands in README.md.
TEST(Simulator, EqualAndNothingLost) {
  auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t seed = 1; seed <= 60 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(20); seed++) {
    Plan plan = Plan::random(seed);
    plan.natural_keys = true;
    plan.integer_keys = plan.pull = plan.crashes = plan.races = plan.refusals = plan.prepared = false;
    plan.uniques = plan.weather = plan.truncates = plan.partitions = false;
    Outcome outcome = run_plan(plan);
    EXPECT_EQ(outcome.failure, "") << plan.text();
  }
}

TEST(Simulator, SameSeedSameTrace) {
  for (std::uint64_t seed = 1; seed <= 5; seed++) {
    Plan plan = Plan::random(seed);
    plan.nodes = 2;
    EXPECT_EQ(run_plan(plan).trace, run_plan(plan).trace) << "seed " << seed;
  }
}

}  // namespace
}  // namespace rowmesh::testing
