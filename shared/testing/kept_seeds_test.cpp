// Seeds that once found a bug, of the plans as they are now. Those of before the plans had all their features:
// simulator_test.cpp.
#include <gtest/gtest.h>

#include "shared/testing/cluster.hpp"

namespace rowmesh::testing {
namespace {

// Core::newest_renamed: what was written below the floor, and nobody had yet.
TEST(KeptSeeds, WhatWasWrittenBeforeAWrongTimeIsKnownAsItsOwn) {
  Outcome outcome = run_plan(Plan::small(4817));
  EXPECT_EQ(outcome.failure, "");
}

// A node stood still after a crash and said that it had been put back to an older state: a prepared transaction had
// been given a new version when it was read, and one of its rows waited, so the batch had the old version when the
// history was loaded; nobody knew any more what the others had been told (Core::load_history).
TEST(KeptSeeds, WhatWasGivenAnewAndWaitsIsKnownAfterACrash) { EXPECT_EQ(run_plan(Plan::random(340558)).failure, ""); }

// A row was gone on one node. Its clock had been set right, so it was another incarnation, of which the others had not
// heard the last position; a delete by that one, settled here, counted as one that comes late, and hit the row that
// had got the key since (Applier::note_late_origins).
TEST(KeptSeeds, WhatAClosedIncarnationDidComesNoMore) { EXPECT_EQ(run_plan(Plan::small(2000003489)).failure, ""); }

// What a node had written before its clock was set right, into a table that waited on the other one, never came there.
// The other waits no more for a closed incarnation's positions; the new one shipped its first document before it had
// named what the old one wrote, and by the time that came it was older than what is forgotten
// (Node::Impl::hand_on_again).
TEST(KeptSeeds, WhatATableWaitsForComesFromTheNewIncarnation) {
  Plan plan = Plan::small(5100022200);
  plan.schemas = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A value that waited in quarantine was shown nowhere for a moment: a row had been inserted over it, and the list
// showed both together before they were merged and the loser listed (Core::side_row).
TEST(KeptSeeds, WhatWaitsIsShownUntilTheRowInsertedOverItIsMerged) {
  EXPECT_EQ(run_plan(Plan::random(865863)).failure, "");
}

// An edit was lost: after a crash the log told of an older row's end alone, for the record that had brought the next
// row under that key was gone, and the record of that end was not (Core::write_pending).
TEST(KeptSeeds, TheHistoryLosesItsBeginBatchByBatch) { EXPECT_EQ(run_plan(Plan::small(6000076228)).failure, ""); }

// An edit was lost: a row that had waited was put into the table after somebody had inserted and moved one of its
// number, and after a crash nobody knew that it had waited (Core::take_record, Life::shown_at).
TEST(KeptSeeds, WhatHadWaitedWhenItWasShownIsKnownAfterARestart) {
  EXPECT_EQ(run_plan(Plan::small(9400061365).without({&Plan::marked})).failure, "");
}

// An edit stayed on one server alone after a backup had been put back: at its start the restored node said once more
// what its references mean, so nobody could tell by its newest version that it had lost some
// (Applier::find_late_reference).
TEST(KeptSeeds, AtAStartNothingIsSaidOnceMore) { EXPECT_EQ(run_plan(Plan::random(1406)).failure, ""); }

// One node's first greeting had been lost before the faults ended, and was given up when all seemed at rest; so the two
// met while nothing was to travel any more (SimulatedNetwork::waits_from_before_healing).
TEST(KeptSeeds, WhoWaitsForALostAnswerIsNotAtRest) {
  Plan plan = Plan::small(3000079984).without({&Plan::backups, &Plan::joins, &Plan::leaves, &Plan::clocks});
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A row was there twice. A document that had been made for a server's question before the clock was set right was
// handed out afterwards (Node::Impl::judge_clock).
TEST(KeptSeeds, WhatWasMadeForAQuestionIsNotHandedOutByTheNextIncarnation) {
  Plan plan = Plan::random(470).without({&Plan::numbered});
  plan.clocks = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A node whose clock had been set right heard only when all seemed at rest that it may go back, and was a new
// incarnation then, of which the other one was told (ClusterRun::a_clock_is_ahead).
TEST(KeptSeeds, WhoseClockIsStillAheadIsNotAtRest) { EXPECT_EQ(run_plan(Plan::small(8733010854)).failure, ""); }

// A value was gone without a word: a server told a node that it needed a copy, and said no more so when that began, for
// it had heard another database under that identity meanwhile (Peer::told_to_copy).
TEST(KeptSeeds, ACopyIsDueUntilOneIsTaken) {
  Plan plan = Plan::small(870019143);
  plan.clones = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A row that had been deleted stayed at a new node: one of its servers had told it of the delete and had forgotten when
// the row began, another one brought the row by its birth (Applier::once, settled_elsewhere).
TEST(KeptSeeds, WhatAServerCalledSettledIsOneRowAtANewNode) {
  Plan plan = Plan::small(730020462);
  plan.copies = plan.joins = plan.natural_keys = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A removed row stayed on one node: a new server handed it on as settled, with somebody's edit, and that made it one
// more life where its birth was known still (match.cpp, DocumentHeader::settled).
TEST(KeptSeeds, WhatANewServerCallsSettledIsTheRowThatIsHere) {
  Plan plan = Plan::small(730426302).without({&Plan::clones, &Plan::leaves});
  plan.copies = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A row was missing on one of three servers: the one in the middle had taken over what that one had forgotten alone,
// and handed on only what was newer of its next copy (Node::Impl::hand_on_copied).
TEST(KeptSeeds, WhatIsOlderThanAnotherCopyHadForgottenIsHandedOn) {
  Plan plan = Plan::small(777000356).without({&Plan::clones});
  plan.nodes = 3;
  plan.copies = plan.late = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// Two servers called each other's documents stale for ever: the one had copied from a third, which had been alone until
// then, and took over what that had forgotten alone (Node::Impl::confirmed_by_our_members).
TEST(KeptSeeds, WhoCopiesFromOneThatWasAlone) {
  Plan plan = Plan::random(707000195);
  plan.copies = plan.late = true;
  EXPECT_EQ(run_plan(plan).failure, "");
  plan = Plan::small(730506002).without({&Plan::joins});
  plan.nodes = 3;
  plan.copies = plan.late = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A new server got no copy, or rows differed, for as long as its source's clock had been ahead: an answer with changes
// was lost before, so the source did not know what the new one has (Node::Impl::would_be_refused).
TEST(KeptSeeds, WhoWaitsForACopyUntilTheClockIsRightSaysWhatItHas) {
  Plan plan = Plan::small(730090066);
  plan.clocks = plan.first_copies = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// Two left for good, the one that alone had what the first had written soon after it: that is gone with them
// (ClusterRun::forgive_unsent).
TEST(KeptSeeds, WhatOneWhoLeftAloneHadOfAnotherIsGoneWithIt) {
  Plan plan = Plan::random(147);
  plan.marked = plan.hold = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A reference of a server that had left named another row: what that server had written was forgotten before its heir
// had it (NodeState::everybody_has_of_the_gone).
TEST(KeptSeeds, WhatTheGoneOneReferredToIsKnownToItsHeir) {
  Plan plan = Plan::small(9928538).without({&Plan::hold, &Plan::copies, &Plan::clocks, &Plan::first_copies});
  plan.nodes = 3;
  plan.joins = plan.leaves = plan.integer_keys = plan.numbered = plan.marked = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// Documents went to and fro for ever, and nothing of a table was forgotten: a truncate of before a copy is kept until
// everybody has got past the copy, for which nobody else had anything to say (Core::awaited).
TEST(KeptSeeds, ATruncateFromBeforeTheCopyIsForgottenInTheEnd) {
  Plan plan = Plan::small(802017566).without({&Plan::clones});
  plan.copies = plan.joins = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// A row of a server that was copying had two lives on all: an answer to a question had brought it to another server,
// and it was given anew with the copy all the same (Node::Impl::note_taken).
TEST(KeptSeeds, WhatWasTakenInAnAnswerIsNotGivenAnewWithTheCopy) {
  Plan plan = Plan::small(850026159).without({&Plan::clones});
  plan.copies = plan.joins = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

// Rows were missing after a backup had been put back that was of before the node had heard anything of the other one
// (KnownServer::heard).
TEST(KeptSeeds, WhoIsPutBackToBeforeItHeardOfAServerIsNotTakenForANewOne) {
  EXPECT_EQ(run_plan(Plan::small(731212288)).failure, "");
}

// Symptom: a row stood under two numbers after a clock had been set wrong, two minutes behind all others. Mend:
// Node::Impl::perhaps_taken.
TEST(KeptSeeds, WhatAServerTookByItsOwnClockIsNotGivenAnew) { EXPECT_EQ(run_plan(Plan::small(771014057)).failure, ""); }

// Holes.H6_AWaitingRowLeavesWhatWasInsertedOverItAlone, in the middle of a document.
TEST(KeptSeeds, WhatIsInsertedOverAWaitingRowKeepsItsValues) {
  EXPECT_EQ(run_plan(Plan::small(790108796)).failure, "");
}

}  // namespace
}  // namespace rowmesh::testing
