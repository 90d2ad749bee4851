// What others make of a node whose clock was set right, in virtual time, and when it needs no new incarnation at all.
#include <gtest/gtest.h>

#include "shared/testing/lab.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: a server got nothing any more, and a row differed, after a clock had been set right. Mechanism: a crash had
// lost the record of a position that was shipped, and the same row was under a later one then. That was forgotten when
// the node became another incarnation, and whether the server had received it was judged by what it had received of
// that one: nothing yet. Mend: who has received all of the earlier one up to G lacks nothing of it either
// (Node::Impl::reaches).
TEST(ClockTest, WhoHasAllOfTheEarlierIncarnationNeedsNoCopy) {
  constexpr std::uint64_t two_minutes_ms = 120'000;  // its documents are refused, its requests are not
  Lab lab;
  run_two(lab);
  lab.insert(0, "its record is written");
  while (lab.rows(1) < 2) lab.run_for(1);
  lab.insert(0, "its record is lost");
  while (lab.rows(1) < 3) lab.run_for(1);
  lab.crash(0);
  lab.set_clock(0, two_minutes_ms);
  lab.start(0);
  lab.run_for(5000);
  ASSERT_EQ(lab.status(0).unsettled, 0u) << "it is forgotten under its second position";
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(20'000);
  EXPECT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  EXPECT_EQ(lab.status(0).servers[0].state, "streaming") << lab.status(0).servers[0].last_error;
  EXPECT_EQ(lab.rows(1), 4u);
}

// Node::Impl::judge_clock: what would go back by moments only.
TEST(ClockTest, WhatIsAheadOnAllSidesMakesNoNewIncarnation) {
  constexpr std::uint64_t listened_to_ms = 45'000;
  for (std::uint64_t after_ms = 0; after_ms < 6000; after_ms += 500) {
    Lab lab;
    run_two(lab);
    lab.set_clock(0, listened_to_ms);
    lab.insert(0, "written ahead");
    lab.run_for(10'000);
    ASSERT_EQ(lab.status(0).unsettled, 0u);
    lab.insert(1, "after it");
    lab.run_for(after_ms);
    lab.set_clock(0, 0);
    lab.run_for(40'000);
    EXPECT_EQ(lab.node(0).store->identity().origin, Origin{0xa}) << after_ms;
  }
}

// Symptom: documents went on travelling for ever after a server had left. Mechanism: its clock had been set right
// before, and of its earlier incarnation everything counted as coming late until what followed had come as far as G;
// but that had left, and what comes late is kept anew with each document. Mend: who has left is awaited in none of its
// incarnations (Applier::note_late_origins).
TEST(ClockTest, WhoLeavesAfterItsClockWasSetRightIsAwaitedByNobody) {
  Lab lab;
  for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
  for (std::size_t i : {0, 1, 2})
    for (std::size_t other : {0, 1, 2})
      if (i != other) lab.link(i, other);
  for (std::size_t i : {0, 1, 2}) lab.start(i);
  lab.run_for(5000);
  lab.set_clock(0, day_ms);
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(20'000);
  ASSERT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  lab.crash(0);
  for (std::size_t i : {1, 2})
    for (auto& server : lab.node(i).store->servers())
      if (server.name == "to 0") lab.node(i).store->remove_server(server.id);
  lab.run_for(5000);
  lab.insert(1, "after");
  lab.run_for(20'000);
  for (std::size_t i : {1, 2}) {
    EXPECT_EQ(lab.rows(i), 2u) << i;
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
    std::uint64_t sent = lab.documents_sent(i);
    lab.run_for(10'000);
    EXPECT_EQ(lab.documents_sent(i), sent) << i;
  }
}

}  // namespace
}  // namespace rowmesh::testing
