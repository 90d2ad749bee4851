// Nodes that are not who they were, in virtual time. With real databases: regress/cluster/test_identity.py.
#include <gtest/gtest.h>

#include "shared/testing/lab.hpp"

namespace rowmesh::testing {
namespace {

// H13: the node stops itself, and the day by which its clock had run ahead is not a day of silence.
TEST(IdentityTest, AClockThatRanAheadIsMendedByItself) {
  Lab lab;
  run_two(lab);
  ASSERT_EQ(lab.rows(1), 1u);
  lab.node(0).wall.skew_ms = day_ms;
  lab.node(0).wake_ms = 0;
  lab.insert(0, "written a day ahead");
  lab.run_for(60000);
  EXPECT_EQ(lab.rows(1), 1u) << "nobody adopts a clock that is refused";
  EXPECT_EQ(lab.status(0).servers[0].state, "blocked");
  EXPECT_NE(lab.status(0).servers[0].last_error.find("clock"), std::string::npos);
  lab.insert(1, "healthy");
  lab.node(0).wall.skew_ms = 0;
  lab.node(0).wake_ms = 0;
  lab.run_for(90000);
  EXPECT_EQ(lab.rows(1), 3u);
  EXPECT_EQ(lab.rows(0), 3u);
  EXPECT_EQ(lab.status(0).servers[0].state, "streaming") << lab.status(0).servers[0].last_error;
  lab.insert(0, "after");
  lab.insert(1, "after, too");
  lab.run_for(5000);
  EXPECT_EQ(lab.rows(0), 5u);
  EXPECT_EQ(lab.rows(1), 5u);
  EXPECT_LT(hlc_to_ms(lab.node(0).store->clock().now()), 1'700'000'000'000 + day_ms / 2);
}

// A node that was put back to an older state, with a clock that was ahead then (Node::Impl::judge_clock).
TEST(IdentityTest, WhoLostSomethingKnowsItThoughItsClockIsSetRight) {
  Lab lab;
  run_two(lab);
  auto put_back = lab.node(0).store->backup();
  lab.insert(0, "lost");
  lab.run_for(200);
  ASSERT_EQ(lab.rows(1), 2u);
  lab.crash(0);
  put_back();
  lab.set_clock(0, 200000);
  lab.insert(0, "of the wrong time");
  lab.start(0);
  lab.node(0).node->remember();
  lab.set_clock(0, 0);
  lab.run_for(20000);
  EXPECT_EQ(lab.status(0).identity, "restored");
  lab.node(0).store->request("new_identity", "restored");
  lab.run_for(60000);
  for (std::size_t i : {0, 1}) EXPECT_EQ(lab.rows(i), 3u) << i;
}

// Symptom: after a clock had been set right nobody took changes of its node any more, for as long as it had been ahead,
// or two nodes differed. Mechanism: a transaction that had been prepared in the wrong time brought its version with it
// when it was committed. Mend: such a version is given anew when it is read (Core::given_anew).
TEST(IdentityTest, APreparedTransactionOfTheWrongTimeIsAsNewAsItsCommit) {
  Lab lab;
  run_two(lab);
  lab.node(0).wall.skew_ms = day_ms;
  MemoryStore& store = *lab.node(0).store;
  Value values[] = {Value::of_text("prepared"), Value::of_integer(1)};
  store.begin_local();
  store.insert("item", values);
  std::uint64_t prepared = store.prepare_local();
  lab.node(0).wake_ms = 0;
  lab.run_for(5000);
  lab.node(0).wall.skew_ms = 0;
  lab.node(0).wake_ms = 0;
  lab.run_for(90000);
  store.commit_prepared(prepared);
  lab.insert(0, "after");
  lab.run_for(5000);
  EXPECT_EQ(lab.rows(1), 3u);
  EXPECT_EQ(lab.status(0).servers[0].state, "streaming") << lab.status(0).servers[0].last_error;
  lab.insert(1, "healthy");
  lab.run_for(20000);
  EXPECT_EQ(lab.rows(0), 4u);
  EXPECT_EQ(lab.status(0).unsettled + lab.status(1).unsettled, 0u);
}

// Symptom: after a clock had been set right a row was there twice, under two numbers. Mechanism: what others have of
// the node was judged by positions, and a crash had lost the record of one that had been shipped: its row counted as
// one that nobody has, and became the new incarnation's. Mend: others tell the newest version that they have
// (Node::Impl::perhaps_taken).
TEST(IdentityTest, WhatWasShippedBeforeACrashIsNotGivenAnew) {
  Lab lab;
  run_two(lab);
  lose_a_record(lab);
  lab.set_clock(0, day_ms);
  lab.start(0);
  lab.run_for(10);
  lab.set_clock(0, 0);
  lab.run_for(60000);
  ASSERT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  EXPECT_EQ(lab.status(0).side_rows, 0u);
  EXPECT_EQ(lab.status(1).side_rows, 0u) << "two lives of one row";
  EXPECT_EQ(lab.status(0).unsettled + lab.status(1).unsettled, 0u);
}

// Symptom: after a clock had been set right nothing was forgotten, and heartbeats went on, for as long as it had been
// ahead. Mechanism: a server that was gone for good had been removed in the wrong time, and nobody counted as gone
// before the others had spoken since (NodeState::fewer_since). Mend: such a moment comes down to the right time.
TEST(IdentityTest, WhoIsRemovedInAWrongTimeIsGoneInTheRightOne) {
  Lab lab;
  for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
  for (std::size_t other : {1u, 2u}) lab.link(0, other), lab.link(other, 0);
  for (std::size_t i = 0; i < 3; i++) lab.start(i);
  lab.run_for(30000);
  lab.crash(2);
  lab.set_clock(0, day_ms);
  lab.insert(0, "in a wrong time");
  lab.run_for(5000);
  MemoryStore& store = *lab.node(0).store;
  for (const ServerConfig& server : store.servers())
    if (server.name == "to 2") store.remove_server(server.id);
  lab.run_for(5000);
  lab.set_clock(0, 0);
  lab.run_for(60000);
  ASSERT_NE(store.identity().origin, Origin{0xa});
  EXPECT_EQ(lab.rows(1), 1u);
  EXPECT_EQ(lab.status(0).unsettled, 0u);
  EXPECT_EQ(lab.status(1).unsettled, 0u);
}

// The same for the others: what was announced in the wrong time was the old incarnation's last word, and that it had a
// server less counted as of then (Core::close_origin).
TEST(IdentityTest, WhatIsAnnouncedInAWrongTimeIsOfTheRightOne) {
  Lab lab;
  for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
  for (std::size_t other : {1u, 2u}) lab.link(0, other), lab.link(other, 0);
  lab.link(1, 2), lab.link(2, 1);
  for (std::size_t i = 0; i < 3; i++) lab.start(i);
  lab.run_for(30000);
  lab.crash(2);
  lab.insert(1, "before");
  lab.run_for(5000);
  lab.set_clock(0, day_ms);
  lab.run_for(5000);
  for (std::size_t i : {0u, 1u})
    for (const ServerConfig& server : lab.node(i).store->servers())
      if (server.name == "to 2") lab.node(i).store->remove_server(server.id);
  lab.run_for(5000);
  lab.set_clock(0, 0);
  lab.run_for(60000);
  ASSERT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  EXPECT_EQ(lab.rows(0), 1u);
  EXPECT_EQ(lab.status(0).unsettled, 0u);
  EXPECT_EQ(lab.status(1).unsettled, 0u);
}

// Symptom: the changes of a node whose clock had been set right were refused for as long as it had been ahead.
// Mechanism: before it gives its versions anew it waits to hear what each server has of it, and one that has no URL
// answers no greeting. Mend: such a server's own greeting tells the same.
TEST(IdentityTest, AServerThatCannotBeReachedKeepsNoClockWrong) {
  Lab lab;
  for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
  for (std::size_t other : {1u, 2u}) lab.link(0, other, other == 2), lab.link(other, 0);
  for (std::size_t i = 0; i < 3; i++) lab.start(i);
  lab.insert(0, "before");
  lab.run_for(30000);
  ASSERT_EQ(lab.rows(1) + lab.rows(2), 2u);
  lab.set_clock(0, day_ms);
  lab.insert(0, "written a day ahead");
  lab.run_for(60000);
  lab.set_clock(0, 0);
  lab.run_for(90000);
  EXPECT_EQ(lab.rows(1) + lab.rows(2), 4u);
  EXPECT_LT(lab.ahead_ms(0), 1000);
}

// Symptom: among several servers, a node whose clock had been set right went on in the wrong time until that had come.
// Mechanism: it waited for a moment at which none of them had just refused a document. Mend: who refuses one has not
// taken it (Peer::untold).
TEST(IdentityTest, WhoRefusesADocumentHasNotTakenIt) {
  constexpr std::uint64_t four_minutes_ms = 240'000;  // its requests are heard, its documents refused
  constexpr std::size_t nodes = 6;
  Lab lab;
  for (std::size_t i = 0; i < nodes; i++) lab.add(std::string(uuid_a).replace(35, 1, std::to_string(i)), 0xa + i);
  for (std::size_t i = 1; i < nodes; i++) lab.link(0, i), lab.link(i, 0);
  for (std::size_t i = 0; i < nodes; i++) lab.start(i);
  lab.run_for(10000);
  lab.set_clock(0, four_minutes_ms);
  lab.run_for(500);
  lab.insert(0, "written ahead");
  lab.run_for(20000);
  lab.set_clock(0, 0);
  lab.run_for(30000);
  EXPECT_LT(lab.ahead_ms(0), 1000);
  for (std::size_t i = 0; i < nodes; i++) EXPECT_EQ(lab.rows(i), 1u) << i;
}

// Symptom: as PostgreSQL was started again after its clock had been set right, it gave versions of the wrong time once
// more, and became a new incarnation a second time. Mechanism: it begins above all that the log has, and there the
// changes of the wrong time stand as they were made. Mend: what the history has read of the log is below what it
// promises (make_clock_ready, MemoryStore::clock_on_disk).
TEST(IdentityTest, AClockThatWasSetRightStaysRightOverACrash) {
  Lab lab;
  run_two(lab);
  lab.set_clock(0, day_ms);
  lab.insert(0, "written a day ahead");
  lab.run_for(10000);
  lab.set_clock(0, 0);
  while (lab.node(0).store->identity().origin == Origin{0xa}) lab.run_for(10);
  Origin corrected = lab.node(0).store->identity().origin;
  lab.crash(0);
  lab.start(0);
  EXPECT_LT(lab.ahead_ms(0), 5000);
  lab.run_for(30000);
  EXPECT_EQ(lab.node(0).store->identity().origin, corrected);
  EXPECT_EQ(lab.rows(1), 2u);
}

// Symptom: nodes differed, or nobody took the changes of a node, when it was started again long after its clock had
// been set right. Mechanism: the rows of its side table still had their versions of the wrong time, and what gives them
// their new ones at a start, a record of the history, had been forgotten. Mend: they are written anew with it
// (Core::rename_window).
TEST(IdentityTest, RowsThatWaitHaveTheirNewVersionsOnDisk) {
  constexpr std::uint64_t two_minutes_ms = 120'000;  // so it is listened to no more, and goes on listening
  Lab lab;
  run_two(lab);
  lab.set_clock(0, two_minutes_ms);
  lab.insert(0, "both", 1);
  lab.insert(1, "both", 2);
  lab.run_for(10000);
  lab.set_clock(0, 0);
  lab.run_for(60000);
  ASSERT_EQ(lab.status(0).side_rows, 1u) << "two lives of one key";
  lab.insert(0, "later");
  lab.run_for(20000);
  lab.crash(0);
  lab.start(0);
  MemoryStore& store = *lab.node(0).store;
  store.begin_local();
  store.remove("item", Row{Value::of_text("both")});
  store.commit_local();
  lab.run_for(20000);
  EXPECT_EQ(lab.rows(0), 2u);
  EXPECT_EQ(lab.rows(1), 2u) << "one of its two lives was known by another birth";
  EXPECT_EQ(lab.status(0).unsettled + lab.status(1).unsettled, 0u);
}

// Symptom: documents went to and fro for as long as a clock had been ahead. Mechanism: one came from that time and
// could not be applied; that its sender waited for its versions to be confirmed was noted all the same, and those were
// given anew when the clock was set right. Mend: only what is applied is waited for.
TEST(IdentityTest, NobodyWaitsForAVersionThatWasNotTaken) {
  constexpr std::uint64_t listened_to_ms = 50'000;
  Lab lab;
  run_two(lab, true);
  lab.run_for(20000);
  lab.set_clock(0, listened_to_ms);
  lab.node(1).store->on_point = [](Point point) {
    if (point == Point::before_write) throw Error(ErrorKind::transient, "53100", "no space left on device");
  };
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(2000);
  lab.node(1).store->on_point = {};
  lab.run_for(15000);
  ASSERT_EQ(lab.rows(1), 2u);
  std::uint64_t sent = lab.documents_sent(0) + lab.documents_sent(1);
  lab.run_for(10000);
  EXPECT_EQ(lab.documents_sent(0) + lab.documents_sent(1), sent);
}

// T32: two databases with one identity, neither of which lost anything. Whoever they both come to hears it.
TEST(IdentityTest, TwoThatSpeakInTurnsAreHeard) {
  Lab lab;
  lab.add(uuid_a, 0xa);
  lab.add(uuid_b, 0xb);
  lab.add(uuid_a, 0xa);  // the copy
  lab.link(0, 1);
  lab.link(1, 0);
  lab.link(2, 1);
  for (std::size_t i = 0; i < 3; i++) lab.start(i);
  lab.run_for(60000);
  for (std::size_t i : {0, 2}) {
    EXPECT_EQ(lab.status(i).identity, "copied") << i;
    EXPECT_NE(lab.status(i).blocked.find("new_identity"), std::string::npos) << i;
  }
  lab.node(2).store->request("new_identity", "copied");
  lab.node(2).wake_ms = 0;
  lab.run_for(120000);
  EXPECT_NE(lab.node(2).store->identity().node, uuid_a);
  EXPECT_NE(lab.node(2).store->identity().origin, Origin{0xa});
  EXPECT_EQ(lab.node(0).store->identity().node, uuid_a);
  EXPECT_EQ(lab.status(0).identity, "") << lab.status(0).blocked;
  lab.insert(0, "goes on by itself");
  lab.run_for(5000);
  EXPECT_EQ(lab.rows(1), 1u);
}

// Symptom: what had been written to a copied database before it was added to the others' servers was gone, or only some
// had it. Mechanism: meanwhile the others, who did not know of it, had forgotten what came after, so its changes could
// not be merged any more, and it was told by some of them only that it needs a copy. Mend: it takes one before it ships
// anything, and what it wrote becomes newer than all that (Core::rebase).
TEST(IdentityTest, WhatACopyWroteBeforeItWasAddedIsOnAllNodes) {
  Lab lab;
  run_two(lab);
  lab.add(uuid_a, 0xa).become_copy_of(*lab.node(0).store, true);
  lab.start(2);
  lab.node(2).store->request("new_identity", "copied");
  lab.run_for(1000);
  lab.insert(2, "of the copy");
  lab.run_for(1000);
  lab.insert(0, "of the original");
  lab.run_for(30000);
  lab.link(1, 2);
  lab.node(1).wake_ms = 0;
  lab.run_for(90000);
  for (std::size_t i : {0, 1, 2}) {
    EXPECT_EQ(lab.rows(i), 3u) << i;
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
  }
  EXPECT_EQ(lab.status(2).servers[0].state, "streaming") << lab.status(2).servers[0].last_error;
}

// Symptom: a row was missing on a node that had been put back, for ever. Mechanism: the other one's clock had been set
// right meanwhile, and what it shipped under its new incarnation came first, for the old one was heard directly there;
// and who has what the new one announces counts as having all of the old one. Mend: who was that incarnation hands it
// on to everybody (Node::Impl::wants_anything), so it is judged at once whether the log still reaches back.
TEST(IdentityTest, WhoIsPutBackHearsWhatHadBeenForgottenBeforeTheClockWasSetRight) {
  Lab lab;
  lab.add(uuid_a, 0xa);
  lab.add(uuid_b, 0xb);
  lab.link(0, 1);
  lab.link(1, 0);
  lab.start(0);
  lab.start(1);
  lab.run_for(5000);
  auto put_back = lab.node(1).store->backup();
  lab.insert(0, "forgotten");
  lab.run_for(10000);
  ASSERT_EQ(lab.rows(1), 1u);
  lab.crash(1);
  put_back();
  lab.set_clock(0, 200000);
  lab.insert(0, "of the wrong time");
  lab.run_for(3000);
  lab.set_clock(0, 0);
  lab.run_for(1000);
  lab.start(1);
  lab.run_for(20000);
  auto servers = lab.status(1).servers;
  ASSERT_EQ(servers[0].state, "needs copy") << servers[0].last_error;
  lab.node(1).store->request("copy", R"({"server":"to 0","direction":"pull","on_existing":"source"})");
  lab.run_for(20000);
  EXPECT_EQ(lab.rows(1), 2u);
}

// A new database that a copy is to be copied to knows nothing of what it has: nothing of that ends because it is not
// there.
TEST(IdentityTest, ACopyWithNewServersTakesNoCopyFromThem) {
  Lab lab;
  run_two(lab);
  lab.add(uuid_a, 0xa).become_copy_of(*lab.node(0).store, true);
  MemoryStore& copy = *lab.node(2).store;
  for (const ServerConfig& server : copy.servers()) copy.remove_server(server.id);
  lab.add("00000000-0000-4000-8000-00000000000d", 0xd);
  lab.link(2, 3);
  lab.link(3, 2);
  lab.start(2);
  lab.start(3);
  copy.request("new_identity", "copied");
  lab.run_for(30000);
  lab.insert(2, "of the copy");
  lab.run_for(30000);
  EXPECT_EQ(lab.rows(2), 2u);
  EXPECT_EQ(lab.rows(3), 1u) << "what came after it was added; the rest comes by copy()";
}

}  // namespace
}  // namespace rowmesh::testing
