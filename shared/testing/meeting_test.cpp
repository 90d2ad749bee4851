// How two nodes come to know each other, in virtual time.
#include <gtest/gtest.h>

#include <utility>

#include "shared/testing/family.hpp"
#include "shared/testing/loose_nodes.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// One side was set up first and has knocked in vain for a while, so that it comes seldom by now. When the other one is
// set up, the two meet at once, and nobody asks hundreds of times meanwhile.
TEST(Meeting, TheSecondOneToBeSetUpIsMetAtOnce) {
  NodePair nodes;
  nodes.add_server(1, 0, "one secret");
  nodes.start();
  nodes.write(0, "a", "old");
  nodes.write(1, "b", "old");
  nodes.run_for(60000);
  ASSERT_EQ(nodes.status(1).state, "blocked");
  std::uint64_t knocked = nodes.status(1).failures;
  EXPECT_LT(knocked, 30u);
  nodes.add_server(0, 1, "one secret");
  nodes.write(0, "c", "new");
  nodes.write(1, "d", "new");
  nodes.run_for(2000);
  EXPECT_EQ(nodes.status(0).state, "streaming") << nodes.status(0).last_error;
  EXPECT_EQ(nodes.status(1).state, "streaming") << nodes.status(1).last_error;
  EXPECT_LT(nodes.status(0).failures, 10u) << nodes.status(0).last_error;
  EXPECT_LT(nodes.status(1).failures, knocked + 10u);
  nodes.run_for(10000);
  EXPECT_EQ(nodes.rows(0), 4u);
  EXPECT_EQ(nodes.rows(1), 3u) << "a was there before";
}

// Symptom: a server that froze just after it had joined kept two others from each other's changes for as long as it
// stayed away. Mechanism: what the one had of it the other refused, since it was to come from there itself, and with
// that the whole document. Fix: the refusal holds only while that server is heard, which is what it tells others.
TEST(Meeting, AServerThatFallsSilentAtOnceKeepsNobodyApart) {
  NodePair nodes(3);
  for (std::size_t at = 0; at < 3; at++)
    for (std::size_t to = 0; to < 3; to++)
      if (at != to) nodes.add_server(at, to, "secret " + std::to_string(at + to));
  WithoutDocuments last(nodes, 2, 1);
  nodes.handlers[2] = &last;
  nodes.start();
  nodes.run_for(1000);
  nodes.network.attach(1, nullptr);
  nodes.run_for(30000);
  nodes.write(0, "k", "1");
  nodes.run_for(40000);
  EXPECT_EQ(nodes.rows(2), 1u) << nodes.status(0, 1).last_error;
}

class LateMeeting : public ::testing::Test {
 protected:
  void link(std::size_t left, std::size_t right) {
    nodes.add_server(left, right, "secret"), nodes.add_server(right, left, "secret");
  }
  std::uint64_t open_transaction(std::size_t at, const std::string& key) {
    std::vector<Value> row = {Value::of_text(key), Value::of_text("v")};
    nodes.stores[at]->begin_local();
    nodes.stores[at]->insert("items", row);
    return nodes.stores[at]->prepare_local();
  }
  void remove(std::size_t at, const std::string& key) {
    std::vector<Value> row = {Value::of_text(key)};
    nodes.stores[at]->begin_local();
    nodes.stores[at]->remove("items", row);
    nodes.stores[at]->commit_local();
  }
  void truncate(std::size_t at) {
    nodes.stores[at]->begin_local();
    nodes.stores[at]->truncate("items");
    nodes.stores[at]->commit_local();
  }
  std::uint64_t unsettled(std::size_t at) { return nodes.nodes[at]->status().unsettled; }
  NodePair nodes{3};
};

// Symptom: a row written between the two calls of add_server, on one server and on the other, never came to the second
// one, and everything looked well. Mechanism: the second one, alone until then, had taken all up to its own time of day
// for settled, so a row born before that was one that it must have had and forgotten. Mend: what has come of an origin
// is known of each (NodeState::come), and what is newer than that cannot have been forgotten, however old it is.
TEST_F(LateMeeting, WhatWasWrittenSinceAServerWasAddedArrives) {
  nodes.start();
  nodes.write(0, "both", "v");
  nodes.write(0, "both, and removed", "v");
  nodes.run_for(5000);
  nodes.add_server(1, 0, "secret");
  nodes.write(1, "both", "v");
  nodes.write(1, "both, and removed", "v");
  nodes.run_for(1000);
  remove(1, "both, and removed");
  nodes.write(1, "new", "v");
  nodes.write(1, "gone again", "v");
  nodes.run_for(1000);
  remove(1, "gone again");
  nodes.run_for(20000);
  nodes.write(0, "own", "v");
  nodes.run_for(5000);
  nodes.add_server(0, 1, "secret");
  nodes.run_for(20000);
  EXPECT_EQ(nodes.rows(1), 2u);
  EXPECT_EQ(nodes.rows(0), 3u) << nodes.status(1).last_error;
  for (std::size_t at : {0, 1}) EXPECT_EQ(unsettled(at), 0u);
}

// (merge.cpp, Merger::merge_one)
TEST_F(LateMeeting, WhatItReplacesOfWhatHasSettledIsListed) {
  nodes.start();
  for (const char* key : {"both", "both, and removed", "the same"}) nodes.write(0, key, std::string(key) + " v0");
  nodes.run_for(5000);
  nodes.add_server(1, 0, "secret");
  nodes.write(1, "both", "v1");
  nodes.write(1, "both, and removed", "v1");
  nodes.write(1, "the same", "the same v0");
  nodes.run_for(1000);
  remove(1, "both, and removed");
  nodes.run_for(5000);
  nodes.write(0, "own", "v");
  nodes.run_for(5000);
  nodes.add_server(0, 1, "secret");
  nodes.run_for(20000);
  std::string listed;
  for (auto& conflict : nodes.stores[0]->conflicts()) listed += conflict.loser;
  EXPECT_NE(listed.find("both v0"), std::string::npos) << listed;
  EXPECT_NE(listed.find("both, and removed v0"), std::string::npos) << listed;
  EXPECT_EQ(listed.find("the same v0"), std::string::npos) << listed;
}

TEST_F(LateMeeting, ATruncateFromBeforeItArrivesBehindAHubToo) {
  link(0, 2);
  nodes.start();
  nodes.write(0, "both", "v");
  nodes.run_for(5000);
  ASSERT_EQ(nodes.rows(2), 1u);
  nodes.add_server(1, 0, "secret");
  nodes.write(1, "both", "v");
  nodes.run_for(1000);
  truncate(1);
  nodes.write(1, "new", "v");
  nodes.run_for(5000);
  nodes.write(0, "own", "v");
  nodes.run_for(5000);
  nodes.network.attach(2, nullptr);
  nodes.add_server(0, 1, "secret");
  nodes.run_for(10000);
  nodes.network.attach(2, nodes.nodes[2].get());
  nodes.run_for(40000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(nodes.rows(at), 1u) << at << ": what was settled counts as older";
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(unsettled(at), 0u) << at;
}

// Symptom: nothing at all came from a server for as long as a transaction stayed open there that was older than their
// meeting ("the document was made before what has been forgotten here"), and what that transaction wrote was lost when
// it came. Mechanism: its documents were taken for stale because its own watermark stood still. Mend: what a document
// does not know is what others wrote; the rest as above.
TEST_F(LateMeeting, ATransactionThatIsOpenHoldsNothingUpAndIsNotLost) {
  link(1, 2);
  nodes.start();
  nodes.run_for(3000);
  nodes.write(1, "there", "v");
  std::uint64_t open = open_transaction(0, "late");
  nodes.run_for(5000);
  link(0, 1);
  nodes.run_for(5000);
  nodes.write(0, "meanwhile", "v");
  nodes.run_for(5000);
  EXPECT_EQ(nodes.rows(1), 2u) << nodes.status(0).last_error;
  EXPECT_EQ(nodes.rows(2), 2u);
  nodes.stores[0]->commit_prepared(open);
  nodes.run_for(10000);
  EXPECT_EQ(nodes.rows(0), 2u) << "what was there before comes by a copy";
  for (std::size_t at : {1, 2}) EXPECT_EQ(nodes.rows(at), 3u) << at;
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(unsettled(at), 0u) << at;
}

// Symptom: the same, of a row written in the very moment after add_server. Mechanism: both came between the reading of
// the configuration and that of the log, so the row was settled on the spot, as on a node without servers. Mend:
// nothing is forgotten while the configuration is newer than the one that was read.
TEST_F(LateMeeting, ARowWrittenJustAfterItsServerWasAddedIsKept) {
  nodes.start();
  nodes.run_for(3000);
  bool done = false;
  nodes.stores[0]->on_point = [&](Point point) {
    if (point != Point::at_begin || std::exchange(done, true)) return;
    nodes.add_server(0, 1, "secret");
    nodes.write(0, "at once", "v");
  };
  nodes.run_for(5000);
  ASSERT_TRUE(done);
  nodes.add_server(1, 0, "secret");
  nodes.run_for(20000);
  EXPECT_EQ(nodes.rows(1), 1u);
}

// Symptom: the same, of a row whose first documents got lost. Mechanism: the new server said of an origin that had not
// spoken yet that everything up to its own horizon had been received, and it was forgotten where it was. Mend: of one
// that has not spoken nothing has been received.
TEST_F(LateMeeting, NothingIsReceivedOfOneThatHasNotSpoken) {
  WithoutDocuments deaf(nodes, 0, 1);
  nodes.handlers[0] = &deaf;
  nodes.start();
  nodes.add_server(1, 0, "secret");
  nodes.write(1, "early", "v");
  nodes.run_for(10000);
  nodes.add_server(0, 1, "secret");
  nodes.write(0, "k", "v");
  nodes.run_for(20000);
  ASSERT_EQ(nodes.rows(1), 2u);
  nodes.network.attach(0, nodes.nodes[0].get());
  nodes.run_for(60000);
  EXPECT_EQ(nodes.rows(0), 2u);
}

// Symptom: after a crash a row differed on two servers. Mechanism: what a server had written before it was met had come
// late, and was settled with an older batch of its row, which was still in the history, before it was handed on. Mend:
// a start takes all batches for late (Window::take_all_for_late).
TEST(LateMeetingAndACrash, WhatCameLateIsHandedOn) {
  LooseNodes nodes(3, create_items);
  Core& hub = nodes.core(0);
  nodes.store(0).prune_interval_ms = 3'600'000;
  for (std::size_t at : {0, 2}) nodes.core(at).state.members.erase(nodes.origin(1));
  nodes.insert(0, "item", {Value::of_text("old"), Value::of_text("v")});
  nodes.exchange({{0, 2}});
  nodes.insert(1, "item", {Value::of_text("k"), Value::of_text("new")});
  nodes.settle(1);
  nodes.pass(10);
  nodes.insert(0, "item", {Value::of_text("k"), Value::of_text("old")});
  nodes.exchange({{0, 2}});
  ASSERT_FALSE(hub.window.unsettled());
  nodes.meet(0, 1);
  nodes.ship(0, 1);
  nodes.ship(1, 0);
  ASSERT_EQ(nodes.rows(0, "item"), "k=new old=v");
  nodes.restart(0);
  nodes.forget(0);
  nodes.meet(2, 1);
  nodes.exchange({{0, 2}, {0, 1}});
  for (std::size_t at : {0, 2}) EXPECT_EQ(nodes.rows(at, "item"), "k=new old=v") << at;
}

// (merge.cpp, Merger::know_again)
TEST(LateMeetingUnderANumber, TheYoungerRowGetsAnotherOneAlsoWhereItHadSettled) {
  LooseNodes nodes(3, create_family);
  for (std::size_t at : {0, 1}) nodes.core(at).state.members.erase(nodes.origin(2));
  nodes.insert(2, "parent", parent(1, "older"));
  nodes.settle(2);
  nodes.pass(10);
  nodes.insert(1, "parent", parent(1, "younger"));
  nodes.settle(1);
  while (nodes.core(1).window.unsettled()) nodes.pass(10), nodes.ship(1, 0), nodes.ship(0, 1), nodes.forget(1);
  ASSERT_TRUE(nodes.core(0).window.unsettled());
  nodes.meet(0, 2);
  nodes.ship(0, 2), nodes.ship(2, 0);
  nodes.meet(1, 2);
  nodes.exchange({{0, 1}, {0, 2}});
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(nodes.rows(at, "parent"), "1=older 2=younger") << at;
}

// Symptom: a row vanished on one server only, when it was edited soon after two had met. Mechanism: a truncate that
// comes late is kept for a while though G is past it, and the birth of a row that is younger was forgotten meanwhile:
// as one that had settled it counted as older. Mend: as long as such a truncate is kept nothing of its table is
// forgotten (Core::truncate_waits).
TEST(LateTruncate, WhatIsYoungerStays) {
  constexpr std::int64_t ahead_ms = 1500;
  LooseNodes nodes(2, create_items);
  Core& late = nodes.core(1);
  nodes.skew(1, ahead_ms);
  late.state.members.erase(nodes.origin(0));
  nodes.write(0, [](MemoryStore& store) { store.truncate("item"); });
  for (int cut = 0; cut < 2; cut++) nodes.settle(1), late.write_alone(), nodes.forget(1), nodes.pass(10);
  ASSERT_GT(late.state.prune_horizon, nodes.core(0).store.clock().now()) << "alone until now";
  nodes.meet(1, 0);
  nodes.insert(1, "item", {Value::of_text("younger"), Value::of_text("1")});
  nodes.ship(1, 0);
  nodes.pass(10);
  nodes.ship(0, 1);
  ASSERT_TRUE(late.state.truncates.size() == 1 && late.state.late_truncates.size() == 1);
  nodes.settle(1);
  nodes.forget(1);
  ASSERT_EQ(late.state.late_truncates.size(), 1u);
  nodes.update(1, "item", {Value::of_text("younger"), Value::of_text("2")});
  nodes.settle(1);
  EXPECT_EQ(nodes.rows(1, "item"), "younger=2");
  nodes.exchange_all();
  for (std::size_t at : {0, 1}) {
    EXPECT_EQ(nodes.rows(at, "item"), "younger=2") << at;
    EXPECT_FALSE(nodes.core(at).window.unsettled()) << at;
    EXPECT_TRUE(nodes.core(at).state.truncates.empty()) << at;
  }
}

}  // namespace
}  // namespace rowmesh::testing
