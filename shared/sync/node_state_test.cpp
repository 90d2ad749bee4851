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

// What one that is gone had written up to 100 came to 2, and up to 40 to this one.
TEST(NodeStateTest, WhatTheGoneOneWroteIsKeptUntilAllThatRemainHaveIt) {
  NodeState state = three_members();
  state.members[3].removed = true;
  state.metas[1].received[3] = 40;
  EXPECT_TRUE(state.advance_prune_horizon());
  EXPECT_EQ(state.prune_horizon, 40u);
  state.metas[1].received[3] = 100;
  EXPECT_TRUE(state.advance_prune_horizon());
  EXPECT_EQ(state.prune_horizon, 80u);
}

// Two that run under one identity: the one had removed the row before the other one edited it.
TEST(NodeStateTest, NobodyHasSeenWhatItsOriginWroteLater) {
  NodeState state = three_members();
  EXPECT_TRUE(state.had_seen({150, 2}, {140, 2}));
  EXPECT_FALSE(state.had_seen({140, 2}, {150, 2}));
  EXPECT_TRUE(state.had_seen({150, 2}, {}));
}

TEST(NodeStateTest, RemembersWhatWasWithheld) {
  NodeState state = three_members();
  state.servers[7].node = "a node";
  std::string without = state.encode(0);
  state.servers[7].withheld = {"extra", "more"};
  EXPECT_EQ(NodeState::decode(state.encode(0)).servers[7].withheld, state.servers[7].withheld);
  EXPECT_TRUE(NodeState::decode(without).servers[7].withheld.empty());
}

// A row was there twice, under two numbers: in a star whose hub had become a new incarnation, a leaf took the others
// for gone before it had announced the hub's new origin as its server, and moved a row of theirs as their heir.
TEST(NodeStateTest, WhoIsBehindANewIncarnationIsNotGone) {
  NodeState state = three_members();
  for (auto& [origin, member] : state.members) member.node = "node " + std::to_string(origin);
  state.metas[1].servers = {2};
  state.metas[2].servers = {1, 3};
  state.metas[3].servers = {2};
  state.judge_members();
  state.members[2].left = true;
  state.members[4] = {"node 2", "", false};
  state.metas[4] = {1, 100, 0, {}};
  state.judge_members();
  EXPECT_FALSE(state.members[3].removed) << "it has not said yet whom it has";
  state.metas[4].servers = {1, 3};
  state.judge_members();
  EXPECT_FALSE(state.members[3].removed);
  state.metas[4].servers = {1};
  state.judge_members();
  EXPECT_TRUE(state.members[3].removed);
}

// What it lacks has been forgotten, and is forgotten though somebody new has not said yet whom it has.
TEST(NodeStateTest, WhoWasFoundRemovedStaysSoUntilSomebodyHasIt) {
  NodeState state = three_members();
  for (Origin origin : {1, 2}) state.metas[origin].servers = {3 - origin};
  state.members[3].linked = true;
  state.judge_members();
  ASSERT_TRUE(state.members[3].removed);
  state.members[4] = {};
  state.metas[1].servers = {2, 4};
  state.judge_members();
  EXPECT_TRUE(state.members[3].removed);
  state.metas[4] = {0, 70, 70, {}};
  state.metas[4].servers = {1, 3};
  state.judge_members();
  EXPECT_FALSE(state.members[3].removed);
}

// A restored node was waited for under its old incarnation again: a late document of that one said something newer of
// it, and it was taken for a member that is back.
TEST(NodeStateTest, AnIncarnationThatWasFollowedStaysClosed) {
  NodeState state = three_members();
  for (auto& [origin, member] : state.members) member.node = "node " + std::to_string(origin);
  state.members[2].left = true;
  state.members[4].node = "node 2";
  EXPECT_TRUE(state.closed(2));
  state.take_meta(2, {11, 110, 100, {}});
  EXPECT_EQ(state.metas[2].watermark, 110u);
  EXPECT_TRUE(state.members[2].left);
  state.members[4].left = true;
  EXPECT_FALSE(state.closed(2));
  state.take_meta(2, {12, 120, 110, {}});
  EXPECT_FALSE(state.members[2].left) << "nobody followed it: it is back";
}

// NodeState::hears_of.
TEST(NodeStateTest, NothingIsForgottenWhileTwoHistoriesAreHeard) {
  NodeState state = three_members();
  OriginMeta known = state.metas[2];
  known.position += 5, known.watermark += 50, known.newest = known.watermark - 10;
  state.take_meta(2, known);
  OriginMeta other = known;
  other.position += 5, other.watermark += 5, other.newest -= 10;
  state.hears_of(2, {known.position - 1, known.watermark - 20, 0, {}, known.newest - 20});
  EXPECT_FALSE(state.hears_two_histories()) << "it was heard late";
  state.hears_of(2, {other.position, known.newest - 1, 0, {}, other.newest});
  EXPECT_FALSE(state.hears_two_histories()) << "it has not read its log again after a crash";
  state.hears_of(2, other);
  EXPECT_TRUE(state.hears_two_histories());
  state.take_meta(2, other);
  EXPECT_EQ(state.metas[2].newest, known.newest) << "which is asked for";
  for (auto& [origin, meta] : state.metas) {
    meta.horizon = 1000;
    for (auto& [of, received] : meta.received) received = 1000;
  }
  NodeState read = NodeState::decode(state.encode(0));
  EXPECT_FALSE(read.advance_prune_horizon());
  read.members[2].left = true;
  EXPECT_TRUE(read.advance_prune_horizon());
}

// Changes that a restored node had lost were forgotten by the others before they had come back, or were on some nodes
// only: the others hand on again what they have of the old incarnation, and who has spoken of the new one has done so.
TEST(NodeStateTest, NothingIsConfirmedBeforeAllHaveSpokenOfANewIncarnation) {
  NodeState state = three_members();
  EXPECT_FALSE(state.awaits_what_was_closed());
  state.members[2].node = state.members[4].node = "a node";
  state.members[4].left = true;
  EXPECT_FALSE(state.awaits_what_was_closed());
  state.metas[3].received.erase(2);
  EXPECT_TRUE(state.awaits_what_was_closed());
  state.members[3].left = true;
  EXPECT_FALSE(state.awaits_what_was_closed());
  state.missing[4] = 60;
  state.servers[7].heard = {2, 3};
  state.servers[7].copy_error = "a table does not fit";
  state.servers[8];
  NodeState read = NodeState::decode(state.encode(0));
  EXPECT_EQ(read.missing, state.missing);
  EXPECT_EQ(read.servers[7].heard, state.servers[7].heard);
  EXPECT_EQ(read.servers[7].copy_error, "a table does not fit");
  EXPECT_EQ(read.servers[8].copy_error, "");
  EXPECT_FALSE(read.found);
}

// Two servers waited for ever for what the lost life of a third one had written to a table that fitted neither: nobody
// has that any more, and what somebody had would come under his own name.
TEST(NodeStateTest, ATableDoesNotWaitForWhatAClosedOriginWrote) {
  NodeState state = three_members();
  ParkedTable table;
  table.fits = true;
  table.until[4] = {20, 1};
  table.covered[4] = {10, 1};
  state.members[2].node = state.members[4].node = "a node";
  EXPECT_FALSE(state.caught_up(table));
  state.members[4].left = true;
  EXPECT_TRUE(state.caught_up(table));
}

// A member heard that another one is closed from somebody who knew less of it, and went on waiting for it.
TEST(NodeStateTest, WhoIsFollowedIsClosedWhoeverSaysSo) {
  NodeState state = three_members();
  std::map<Origin, Member> theirs = state.members;
  theirs[2].node = theirs[4].node = "a node";
  theirs[2].left = true;
  state.members[2].node = "a node";
  state.take_members(theirs, {{2, {5, 50, 50, {}}}});
  EXPECT_TRUE(state.closed(2));
}

TEST(NodeStateTest, RemembersWhereItsHistoryWasFound) {
  NodeState state = three_members();
  state.found = {{7, 8}, 9, 10, 11, true};
  state.confirmed = 12;
  state.returning = state.ran_as_another = true;
  state.rebased = 13;
  state.joined = true;
  NodeState read = NodeState::decode(state.encode(0));
  ASSERT_TRUE(read.found);
  EXPECT_EQ(read.found->position.number, 7u);
  EXPECT_EQ(read.found->watermark, 9u);
  EXPECT_EQ(read.found->newest, 10u);
  EXPECT_EQ(read.found->unread, 11u);
  EXPECT_TRUE(read.found->copy);
  EXPECT_EQ(read.confirmed, 12u);
  EXPECT_TRUE(read.returning && read.ran_as_another);
  EXPECT_EQ(read.rebased, 13u);
  EXPECT_TRUE(read.joined);
  state.joined = false;
  EXPECT_FALSE(NodeState::decode(state.encode(0)).joined);
}

}  // namespace
}  // namespace rowmesh
