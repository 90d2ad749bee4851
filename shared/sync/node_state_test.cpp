#include "shared/sync/node_state.hpp"

#include <gtest/gtest.h>

namespace rowmesh {
namespace {

NodeState three_members() {
  NodeState state;
  state.self = 1;
  for (Origin origin : {1, 2, 3}) state.members[origin] = {};
  state.metas[1] = {10, 100, 90, {{2, 100}, {3, 100}}};
  state.metas[2] = {10, 100, 80, {{1, 100}, {3, 100}}};
  state.metas[3] = {10, 100, 70, {{1, 100}, {2, 100}}};
  return state;
}

TEST(NodeStateTest, ForgetsWhatAllMembersConfirmed) {
  NodeState state = three_members();
  EXPECT_TRUE(state.advance_prune_horizon());
  EXPECT_EQ(state.prune_horizon, 70u);
  EXPECT_FALSE(state.advance_prune_horizon());
}

// The hub of a star: 2 confirmed before it had heard that there is a 3, so rows of 3 that it still lacks were forgotten
// here.
TEST(Holes, H16h_WhoHasNotHeardOfAMemberConfirmsNothing) {
  NodeState state = three_members();
  state.metas[2].received.erase(3);
  EXPECT_FALSE(state.advance_prune_horizon());
  EXPECT_EQ(state.prune_horizon, 0u);
  state.members[3].left = true;
  EXPECT_TRUE(state.advance_prune_horizon());
  EXPECT_EQ(state.prune_horizon, 80u);
}

// A held row came up on one node only: the delete of the row had been forgotten by a relay. 2 had confirmed up to 80
// before it heard of 3; it has heard of it now, but has received no more of it than up to 40, and its horizon never
// goes back.
TEST(NodeStateTest, AHorizonFromBeforeAMemberWasMetDoesNotCoverIt) {
  NodeState state = three_members();
  state.metas[2].received[3] = 40;
  EXPECT_TRUE(state.advance_prune_horizon());
  EXPECT_EQ(state.prune_horizon, 40u);
}

TEST(NodeStateTest, RemembersWhatWasWithheld) {
  NodeState state = three_members();
  state.servers[7].node = "a node";
  std::string without = state.encode(0);
  state.servers[7].withheld = {"extra", "more"};
  EXPECT_EQ(NodeState::decode(state.encode(0)).servers[7].withheld, state.servers[7].withheld);
  EXPECT_TRUE(NodeState::decode(without).servers[7].withheld.empty());
}

}  // namespace
}  // namespace rowmesh
