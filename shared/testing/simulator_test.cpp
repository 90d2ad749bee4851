// The simulator in the test run: single faults on many seeds, all of them together, and the seeds that once found a
// bug (more of them: kept_seeds_test.cpp).
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <initializer_list>

#include "shared/testing/cluster.hpp"

namespace rowmesh::testing {
namespace {

using Switch = bool Plan::*;
constexpr Switch switches[] = {&Plan::integer_keys, &Plan::pull,    &Plan::crashes, &Plan::races,     &Plan::refusals,
                               &Plan::prepared,     &Plan::uniques, &Plan::weather, &Plan::truncates, &Plan::partitions,
                               &Plan::skew,         &Plan::mixed,   &Plan::schemas};

// A seed as it was run before the simulator learned the features that stand behind `last` in the list.
Plan as_of(Switch last, std::uint64_t seed) {
  Plan plan = Plan::random(seed);
  bool later = false;
  for (const Feature& feature : testing::features()) {
    if (later) plan.*feature.on = false;
    later |= feature.on == last;
  }
  plan.links &= last == &Plan::links;  // learned after all others, though it stands further up
  return plan;
}
Plan with_proxies(std::uint64_t seed) { return as_of(&Plan::full_disks, seed).without({&Plan::two_uniques}); }
Plan with_filters(std::uint64_t seed) {
  return as_of(&Plan::filters, seed)
      .without({&Plan::backups, &Plan::links, &Plan::joins, &Plan::leaves, &Plan::clocks});
}

// What the seed has of `wanted`, and nothing else.
Plan only(std::uint64_t seed, std::initializer_list<Switch> wanted, std::size_t nodes = 0) {
  Plan plan = with_proxies(seed);
  if (nodes != 0) plan.nodes = nodes;
  for (Switch feature : switches) {
    bool kept = false;
    for (Switch one : wanted) kept = kept || one == feature;
    if (!kept) plan.*feature = false;
  }
  return plan;
}

void run_seeds(std::initializer_list<Switch> wanted) {
  auto begin = std::chrono::steady_clock::now();
  std::uint64_t runs = 0;
  for (std::uint64_t seed = 1; seed <= 60 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(8);
       seed++, runs++) {
    Plan plan = only(seed, wanted);
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
  EXPECT_GT(runs, 0u);
}

TEST(Simulator, EqualAndNothingLost) { run_seeds({}); }
TEST(Simulator, IntegerKeys) { run_seeds({&Plan::integer_keys}); }
TEST(Simulator, ServersThatNobodyReaches) { run_seeds({&Plan::pull}); }
TEST(Simulator, Crashes) { run_seeds({&Plan::crashes}); }
TEST(Simulator, CrashesWithServersThatNobodyReaches) { run_seeds({&Plan::crashes, &Plan::pull}); }
TEST(Simulator, Refusals) { run_seeds({&Plan::refusals}); }
TEST(Simulator, PreparedTransactions) { run_seeds({&Plan::prepared}); }
TEST(Simulator, UniqueValues) { run_seeds({&Plan::uniques}); }
TEST(Simulator, TwoUniqueColumns) {
  auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t seed = 1; seed <= 60 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(8);
       seed++) {
    Plan plan = only(seed, {&Plan::uniques, &Plan::races, &Plan::crashes});
    plan.uniques = plan.two_uniques = plan.natural_keys = true;
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}
TEST(Simulator, BadNetwork) { run_seeds({&Plan::weather}); }
TEST(Simulator, Partitions) { run_seeds({&Plan::partitions}); }
TEST(Simulator, Truncates) { run_seeds({&Plan::truncates}); }
TEST(Simulator, SchemasThatDiffer) { run_seeds({&Plan::schemas}); }
TEST(Simulator, SchemasThatDifferWithServersThatNobodyReaches) {
  run_seeds({&Plan::schemas, &Plan::pull, &Plan::crashes});
}
TEST(Simulator, RowsThatWaitForAPerson) {
  for (std::uint64_t seed = 1; seed <= 30; seed++) {
    Plan plan = only(seed, {&Plan::integer_keys, &Plan::refusals}, 3);
    plan.integer_keys = plan.hold = plan.discards = plan.big = true;
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}
TEST(Simulator, ANodeThatGetsOneTable) {
  for (std::uint64_t seed = 1; seed <= 30; seed++) {
    Plan plan = only(seed, {&Plan::integer_keys, &Plan::uniques, &Plan::crashes}, 3);
    plan.topology = seed % 2 == 0 ? Topology::chain : Topology::star;
    plan.natural_keys = plan.filters = true;
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}
// One clock at a time is minutes off, and set right again: what was written by it keeps its order to what others wrote.
TEST(Simulator, AClockThatIsSetRight) {
  for (std::uint64_t seed = 1; seed <= 60; seed++) {
    Plan plan = only(seed, {&Plan::integer_keys, &Plan::partitions, &Plan::mixed}, 2)
                    .without({&Plan::proxies, &Plan::full_disks});
    plan.clocks = true;
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}
TEST(Simulator, ClocksThatJump) { run_seeds({&Plan::skew, &Plan::mixed}); }

// These features and no others; an older state of a node is put back.
Plan put_back(std::uint64_t seed, std::size_t nodes, std::initializer_list<Switch> wanted) {
  Plan plan =
      only(seed, {}, nodes).without({&Plan::natural_keys, &Plan::two_uniques, &Plan::proxies, &Plan::full_disks});
  for (Switch feature : wanted) plan.*feature = true;
  plan.backups = true;
  return plan;
}

// A node loses what it did since its backup, while the others go on; it does what its status asks for.
TEST(Simulator, OlderStatesPutBack) {
  for (std::uint64_t seed = 1; seed <= 60; seed++) {
    Plan plan = put_back(seed, 2 + seed % 2, {&Plan::integer_keys, &Plan::natural_keys});
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}
TEST(Simulator, OlderStatesPutBackWhereNobodyReachesTheOthers) {
  for (std::uint64_t seed = 1; seed <= 60; seed++) {
    Plan plan = put_back(seed, 2 + seed % 2, {&Plan::integer_keys, &Plan::natural_keys, &Plan::pull});
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}

TEST(Simulator, SameSeedSameTrace) {
  for (std::uint64_t seed = 1; seed <= 5; seed++) {
    Plan plan = Plan::random(seed);
    plan.nodes = 2;
    EXPECT_EQ(run_plan(plan).trace, run_plan(plan).trace) << "seed " << seed;
  }
}

// All faults together, other features, sizes and topologies with every seed: the first few of those that `./dev test`
// runs as a suite of its own.
TEST(Simulator, EverythingTogether) {
  for (std::uint64_t seed = 1; seed <= 60; seed++) {
    Plan plan = Plan::random(seed);
    EXPECT_EQ(run_plan(plan).failure, "") << plan.text();
  }
}

// Seeds that found a bug, by the bug. Symptom; mechanism; mend.

// After a restart one side had a second life that the other had not; records older than a side row were laid over it as
// soon as a newer batch named the key; a record up to the side row's mark now never changes it (Core::take_record).
TEST(KeptSeeds, OlderRecordsOverASideRowAtARestart) { EXPECT_EQ(run_plan(only(264, {&Plan::crashes}, 2)).failure, ""); }

// A value vanished unlisted when a second life came in under a natural key; only the values that lost to the youngest
// life were listed; now those of every life whose column another one shows (Merger::list_hidden_values).
TEST(KeptSeeds, ValuesHiddenByAnOlderLifeAreListed) { EXPECT_EQ(run_plan(only(194, {&Plan::crashes}, 2)).failure, ""); }

// A row stayed unsettled for ever; inserted and deleted between two documents, no line told the other side of it, which
// so had nothing unsettled and sent no heartbeat; the header now says how new its changes are (DocumentHeader::newest).
TEST(KeptSeeds, RowsThatCameAndWentAreForgotten) { EXPECT_EQ(run_plan(only(47, {}, 2)).failure, ""); }

// A committed row was never shipped after a restart; the history record of its cut was pruned because its batch was
// known by the last record of the same write, not the first (Core::first_written).
TEST(KeptSeeds, CutRecordsOfADocumentArePrunedTooEarly) {
  EXPECT_EQ(run_plan(only(249, {&Plan::crashes})).failure, "");
}

// A row that another server inserted died on one node only; a local insert and delete of the key, committed before it
// arrived but read from the log after, buried it; a change is now folded into the lives that it can have seen
// (Life::applied_at).
TEST(KeptSeeds, ChangesReadAfterALifeWasApplied) { EXPECT_EQ(run_plan(only(141, {&Plan::partitions}, 2)).failure, ""); }

// Values that waited in quarantine vanished when the row was changed or deleted there; they are listed now
// (Core::list_unseen).
TEST(KeptSeeds, QuarantinedValuesReplacedHereAreListed) {
  EXPECT_EQ(run_plan(only(118, {&Plan::refusals}, 2)).failure, "");
}

// A row inserted over a quarantined one stayed 'quarantined' here and 'merged' elsewhere (Core::split_values).
TEST(KeptSeeds, AnInsertOverAQuarantinedRow) { EXPECT_EQ(run_plan(only(126, {&Plan::refusals})).failure, ""); }

// A lost answer silenced the link for a minute, and nothing was forgotten meanwhile: the time limit of a document.
TEST(KeptSeeds, ALostAnswerSilencesTheLinkForLong) { EXPECT_EQ(run_plan(only(209, {&Plan::weather}, 2)).failure, ""); }

// A younger row under a number whose older row waits in quarantine went without values; it waits now as well
// (Core::hold_younger).
TEST(KeptSeeds, AnInsertUnderANumberThatWaits) {
  EXPECT_EQ(run_plan(only(39, {&Plan::integer_keys, &Plan::refusals}, 2)).failure, "");
}

// A held row never came up where its elder was deleted (Node::Impl::reconcile).
TEST(KeptSeeds, AHeldRowWhoseElderIsDeletedHere) { EXPECT_EQ(run_plan(only(20, {&Plan::integer_keys})).failure, ""); }

// Rows that a truncate had killed were back after a restart: the truncate was forgotten, older records and side rows
// still had their lives.
TEST(KeptSeeds, ForgottenTruncatesAtARestart) {
  EXPECT_EQ(run_plan(only(96, {&Plan::races, &Plan::crashes, &Plan::truncates}, 2)).failure, "");
}

// A row inserted by the transaction that truncated its table was gone after a restart: folding the truncate again took
// it from its side row.
TEST(KeptSeeds, ATruncateFoldedAgainOverASideRow) {
  EXPECT_EQ(run_plan(only(139, {&Plan::races, &Plan::crashes, &Plan::truncates}, 2)).failure, "");
}

// An update that a truncate had not seen went unlisted when a newer one of the same row had been seen: judged column by
// column now.
TEST(KeptSeeds, ATruncateListsByColumn) {
  EXPECT_EQ(run_plan(only(13, {&Plan::races, &Plan::truncates, &Plan::prepared}, 2)).failure, "");
}

// A settled row was deleted by a server that had inserted and deleted its key in one transaction, before it heard of
// the row: what stayed of that was a dead life of birth 0 (fold_remove).
TEST(KeptSeeds, AKeyThatCameAndWentBeforeTheRow) {
  EXPECT_EQ(run_plan(only(17, {&Plan::crashes, &Plan::pull})).failure, "");
}

// With everything together, as rowmesh_sim ran them then: what it has learned since is left out, so that they stay the
// same runs.
Plan everything(std::uint64_t seed) { return with_proxies(seed).without({&Plan::proxies, &Plan::full_disks}); }

// Rows inserted by the transaction that truncated their table were removed after a restart: the history had lost their
// births, but the state on disk still knew the truncate (Core::prune_to_).
TEST(KeptSeeds, ATruncateOutlivesTheBirthsItCameWith) { EXPECT_EQ(run_plan(everything(4085)).failure, ""); }

// A row was hidden on one node and shown on the other: it had taken its UNIQUE value where the row with the older claim
// was refused, and had settled there before that one was taken in; a quarantined row claims its values now
// (Applier::candidates).
TEST(KeptSeeds, AQuarantinedRowClaimsItsValues) { EXPECT_EQ(run_plan(everything(5036)).failure, ""); }

// A row referred to the wrong one: what it meant had moved to a number that another row had already, and moved on from
// there without ever having been in the table (Applier::follow_references).
TEST(KeptSeeds, AReferenceToARowThatMovedTwice) { EXPECT_EQ(run_plan(everything(3008)).failure, ""); }

// A value vanished unlisted: a delete was carried over to a row that had been changed under its new number
// (Applier::list_buried).
TEST(KeptSeeds, ADeleteCarriedOverListsWhatItHadNotSeen) { EXPECT_EQ(run_plan(everything(3059)).failure, ""); }

// A row stayed unsettled for ever: it remembered the row that it meant, which was deleted and never moved
// (Meant::since).
TEST(KeptSeeds, AReferenceToARowThatNeverMoves) { EXPECT_EQ(run_plan(everything(3002)).failure, ""); }

// A reference named another row than its writer meant: a prepared transaction wrote it while the row had its old
// number, and committed after it had moved (Applier::find_late_references).
TEST(KeptSeeds, AReferenceThatIsCommittedAfterItsRowHasMoved) { EXPECT_EQ(run_plan(everything(17)).failure, ""); }

// A reference was taken for one to a row that had been refused here, as its own row was inserted under that number.
TEST(KeptSeeds, AReferenceWhereAnotherRowIsRefused) { EXPECT_EQ(run_plan(everything(1107)).failure, ""); }

// An update vanished unlisted after a restart: its row, of which the history had forgotten the birth, was taken for one
// that a forgotten truncate had killed (Window::drop_born_before).
TEST(KeptSeeds, ASettledRowOutlivesAForgottenTruncate) { EXPECT_EQ(run_plan(everything(353)).failure, ""); }

// A node that can reach nobody, but is reached, forgot nothing after a crash: it went on waiting for a server that it
// had met meanwhile (Node::Impl::decide_what_is_kept).
TEST(KeptSeeds, ANodeThatOnlyOthersReachForgets) { EXPECT_EQ(run_plan(everything(191)).failure, ""); }

// An update vanished unlisted: its row had been put into the table between the transaction that had inserted and
// deleted that key and the reading of the log (Life::shown_at).
TEST(KeptSeeds, ARowThatIsShownBeforeAnOlderDeleteIsRead) { EXPECT_EQ(run_plan(everything(607)).failure, ""); }

// A row that was deleted under its old number stayed under its new one: the move was known before the row that it had
// made, so the delete could not be carried over, and nothing did so later (AwaitedMove).
TEST(KeptSeeds, ADeleteFollowsAMoveWhoseRowComesLater) { EXPECT_EQ(run_plan(with_proxies(3284)).failure, ""); }

// A node kept rows for ever: all others had forgotten what it kept and were quiet, but had not confirmed it, so it
// never could. What somebody keeps is told to everybody now (DocumentHeader::awaited).
TEST(KeptSeeds, WhoKeepsNothingConfirmsWhatIsKeptElsewhere) { EXPECT_EQ(run_plan(with_proxies(512)).failure, ""); }

// A row was missing on one node: a merge that changes no value of a row, only its versions, did not have the claims to
// UNIQUE values weighed (Applier::decide_generally).
TEST(KeptSeeds, AYoungerClaimToTheSameValue) { EXPECT_EQ(run_plan(everything(486)).failure, ""); }

// A transaction of the core stayed open: what had to be read again for a raced apply met an error, and nobody rolled
// back (StoreTransaction).
TEST(KeptSeeds, ATransactionThatNobodyEnded) { EXPECT_EQ(run_plan(everything(1053)).failure, ""); }

// A reference named another row than its writer meant: after a restart it was taken for one to the number's elder row,
// dead by two deletes, the later of which came after the reference (Applier::find_late_reference).
TEST(KeptSeeds, AReferenceBesideARowThatWasDeletedTwice) { EXPECT_EQ(run_plan(with_filters(50280)).failure, ""); }

// A reference stayed behind: its row was given two new numbers in one apply, and the second time it was to follow with
// the version that it had from the first, which counts as nothing new (Applier::settle_keys).
TEST(KeptSeeds, AReferenceToARowThatMovesTwiceAtOnce) { EXPECT_EQ(run_plan(with_filters(1058)).failure, ""); }

// A table waited for ever on both sides, though it fitted again: each took its own document for one that had shown that
// it does not, when it had not been taken for another reason (Peer::tried).
TEST(KeptSeeds, TablesThatWaitForEachOther) { EXPECT_EQ(run_plan(with_filters(30187)).failure, ""); }

// A row that the lost life had shipped never came back; positions that the restored node had made since its start, of
// what its log held unread at the backup, were taken for the lost ones; what is counted as known of the old
// incarnation now ends where it was found (NodeState::found).
TEST(KeptSeeds, PositionsOfARestoredNodeAreNotThoseThatItLost) {
  EXPECT_EQ(run_plan(put_back(564, 2, {&Plan::integer_keys})).failure, "");
}

// Rows written since the restore were removed by a second copy with 'source', for which the status had asked in vain:
// the other server had judged by what it had heard before the first one (Hello::needs_copy_as_of).
TEST(KeptSeeds, WhoTookACopyIsNotAskedForASecondOne) {
  EXPECT_EQ(run_plan(put_back(870, 2, {&Plan::integer_keys})).failure, "");
}

// A row that one server had deleted came back to a restored node with the copy from another: the delete of a row that
// had settled elsewhere, and had never come here, was dropped (MergeContext::behind).
TEST(KeptSeeds, ADeleteComesToARestoredNodeBeforeItsRow) {
  EXPECT_EQ(run_plan(put_back(102, 3, {&Plan::natural_keys})).failure, "");
}

// The same by the shorter way of plain rows: the delete was not handed on either (Applier::decide_plainly).
TEST(KeptSeeds, ARestoredNodeHandsOnTheDeleteOfARowThatItNeverHad) {
  EXPECT_EQ(run_plan(put_back(684, 3, {&Plan::integer_keys})).failure, "");
}

// A reference that the lost life had written named another row when it came back: its row was given a new number by
// the restored node, which did not know what it had meant (Applier::note_left_by_others).
TEST(KeptSeeds, AReferenceThatComesBackFollowsItsRow) {
  EXPECT_EQ(run_plan(put_back(81, 3, {&Plan::integer_keys})).failure, "");
}

// A restored node that can reach nobody never noticed what it was: only the answer to a greeting told it. A greeting
// tells it as well now (Node::Impl::told_in_greeting).
TEST(KeptSeeds, ARestoredNodeThatReachesNobodyNotices) {
  EXPECT_EQ(run_plan(put_back(499, 2, {&Plan::integer_keys, &Plan::natural_keys, &Plan::pull})).failure, "");
}

// Two nodes, one of which is copied while it runs; nothing else happens, but for `also`.
Plan copied(std::uint64_t seed, Switch also = nullptr) {
  Plan plan = Plan::small(seed);
  for (const Feature& feature : testing::features())
    if (feature.on != &Plan::integer_keys && feature.on != &Plan::natural_keys && feature.on != also)
      plan.*feature.on = false;
  plan.nodes = 2;
  plan.clones = true;
  return plan;
}

// What the original wrote was never shipped: a copy under the same identity had shipped a position with a higher
// number, and the server counted that one as the original's (Core::gave).
TEST(KeptSeeds, WhatACopyShipsHidesNothingOfTheOriginal) { EXPECT_EQ(run_plan(copied(167)).failure, ""); }

// Two nodes differed: a copy had shipped an edit under the original's identity, and all that the original did not know
// had been forgotten when it heard of it (Renewal::awaited).
TEST(KeptSeeds, WhatACopyShippedComesToTheOriginal) {
  for (std::uint64_t seed : {840002433, 840006813}) {
    Plan plan = Plan::small(seed);
    plan.clones = true;
    EXPECT_EQ(run_plan(plan).failure, "") << seed;
  }
}

// Two nodes differed: the original took a document in which rows had versions of its own that the copy had given, and
// took them for its own when it became a new incarnation (OtherHistory).
TEST(KeptSeeds, AnotherHistoryIsNoticedInADocument) { EXPECT_EQ(run_plan(copied(364)).failure, ""); }

// A row that had been inserted with a truncate was gone from the copy: at its source both had settled, so the row came
// without its birth, and the truncate still stood here (Node::Impl::forget_truncates).
TEST(KeptSeeds, ATruncateThatHasSettledAtTheSourceKillsNothing) {
  EXPECT_EQ(run_plan(copied(1141, &Plan::truncates)).failure, "");
}

// A row was gone from a node that had come back: the delete of an older row under its number came once more with the
// changes, and counted as one that had never been here, though the copy had been made after it (Node::Impl::came_with).
TEST(KeptSeeds, WhatHadSettledBeforeTheCopyIsNotLate) {
  Plan plan = Plan::random(106);
  for (const Feature& feature : testing::features()) plan.*feature.on = false;
  for (Switch kept :
       {&Plan::integer_keys, &Plan::natural_keys, &Plan::uniques, &Plan::prepared, &Plan::crashes, &Plan::weather,
        &Plan::races, &Plan::skew, &Plan::pull, &Plan::mixed, &Plan::full_disks, &Plan::backups})
    plan.*kept = true;
  EXPECT_EQ(run_plan(plan).failure, "");
}

}  // namespace
}  // namespace rowmesh::testing
