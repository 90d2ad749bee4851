"""Takes one mechanism out at a time, in a scratch copy, and demands that the test that is named for it fails. A test that goes on passing
proves nothing. Called by ./dev check mutations [NAME...]; with 'postgresql' also those that need a server with the extension.

It counts only if the same copy passes the test with everything in place, builds without the mechanism, and then fails that test by an
assertion: a crash, an exception, a build that breaks or a test that does not end or is not there proves nothing either.

Where a line that is to be changed is not found, the code has moved: put the mend's new place in here."""
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build"))
SCRATCH = BUILD.with_name(BUILD.name + "-mutations")
TIME_LIMIT_S = 300


@dataclasses.dataclass
class Mutation:
    name: str
    file: str
    edits: list  # of (before, after), and the file where it is another one
    test: str
    program: str = "shared/rowmesh_tests"


NOT_A_NEIGHBOUR = ("std::none_of(servers.begin(), servers.end(), [&, it = origin](auto& one) { return one.second.origin == it; })")
AHEAD = """
  if (header_.kind == DocumentKind::changes) {
    NodeState ahead = core_.state;
    for (auto& [origin, to] : header_.to)
      if (origin != ahead.self && to.number > ahead.applied[origin].number) ahead.applied[origin] = to;
    core_.store.begin(TransactionKind::write);
    core_.write_pending(applied_records({}, 0), ahead);
    core_.store.commit();
    core_.written();
  }
"""
SQLITE = "sqlite_ext/rowmesh_sqlite_tests"

MUTATIONS = [
    # The holes of simpler readings (shared/merge/README.md).
    Mutation("H1", "shared/sync/node_state.cpp",
             [("if (member.away() && origin != self) continue;", f"if (origin != self && (member.away() || {NOT_A_NEIGHBOUR})) continue;"),
              ("lowest = std::min(lowest, at == metas.end() ? 0 : at->second.horizon);", "lowest = std::min(lowest, at == metas.end() ? 0 : at->second.watermark);"),
              ("if (received == at->second.received.end()) return false;", "(void)received;"),
              ("lowest = std::min(lowest, received->second);", "")],
             "Holes.H1_ANeighbourIsNotEverybody"),
    Mutation("H2", "shared/testing/memory_store.cpp", [("if (!prepared.entries.empty()) read.watermark", "if (false) read.watermark")],
             "Holes.H2_TheWatermarkWaitsForWhatIsNotVisible"),
    Mutation("H3", "shared/sync/node_state.cpp",
             [("  if (members.empty() || lowest <= prune_horizon)", "  lowest = horizon(~Hlc{0});\n  if (members.empty() || lowest <= prune_horizon)")],
             "Holes.H3_ReceivedWatermarksAreNotEnough"),
    Mutation("H3-stale", "shared/sync/applier.cpp", [("if (anything_new && header_.horizon < state.prune_horizon)", "if (false)")],
             "Holes.H3_AStaleDocumentIsRefused"),
    Mutation("H3-put", "shared/merge/match.cpp",
             [("  return std::nullopt;  // an old life that I know to be gone: never resurrect", "  *added = true;\n  return life.birth;")],
             "Holes.H3_AStalePutDoesNotResurrect"),
    Mutation("H4", "shared/merge/match.cpp",
             [("if (!old || context.copy) {", "if (state.lives.size() == 1) return state.lives[0].birth;\n  if (!old || context.copy) {")],
             "Holes.H4_DeleteAndInsertInOneDocument"),
    Mutation("H5", "shared/merge/merge.cpp",
             [("if (!working.life.dead(context_.truncated)) alive.push_back(&working);",
               "if (!context_.table.keeps_lives_apart() || !working.life.dead(context_.truncated)) alive.push_back(&working);")],
             "Holes.H5_LivesAreIndependent"),
    Mutation("unread-delete", "shared/sync/applier_rows.cpp", [("  if (!unknown.empty() && log_names(table, unknown)) throw Raced{};", "")], "Mechanisms.ADeleteThatWasNotReadYetIsNotUndone"),
    Mutation("vanished-busy", "shared/sync/applier_rows.cpp",
             [("if (attempt_ < attempts / 2 || log_names(table, {KeyView(item.key)})) throw Raced{};", "if (attempt_ < attempts / 2) throw Raced{};")],
             "Mechanisms.ADeleteAmongManyWritesIsNotUndone"),
    Mutation("H17", "shared/sync/node_state.cpp", [("  if (!applied.contains(origin)) return 0;\n", "  if (!applied.contains(origin)) return ~Hlc{0};\n")],
             "LateMeeting.WhatWasWrittenSinceAServerWasAddedArrives"),
    Mutation("H17-truncate", "shared/sync/core.cpp", [("at->second.hlc, late == state.late_truncates.end() ? 0 : late->second", "at->second.hlc, Hlc{0}")],
             "LateMeeting.ATruncateFromBeforeItArrivesBehindAHubToo"),
    Mutation("H17-open", "shared/sync/document_maker.cpp", [("core.state.horizon(~Hlc{0})", "core.state.horizon(core.watermark)")],
             "LateMeeting.ATransactionThatIsOpenHoldsNothingUpAndIsNotLost"),
    Mutation("H17-at-once", "shared/sync/node.cpp", [("core.unreconciled.empty() && core.store.config_generation() == config_generation", "core.unreconciled.empty()")],
             "LateMeeting.ARowWrittenJustAfterItsServerWasAddedIsKept"),
    Mutation("H17-received", "shared/sync/core.cpp", [("other.position != 0 && !lacks_changes()", "!lacks_changes()")],
             "LateMeeting.NothingIsReceivedOfOneThatHasNotSpoken"),
    Mutation("H6", "shared/sync/applier_unique.cpp",
             [("(shown->side->kind != SideKind::hidden && shown->side->kind != SideKind::quarantined)", "shown->side->kind != SideKind::quarantined")],
             "Holes.H6_TheLoserOfAUniqueValueComesBack"),
    Mutation("H6-claim", "shared/merge/window.cpp", [("!lives.front().side && lives.front().meant.empty()", "lives.front().meant.empty()")],
             "Holes.H6_AHiddenRowKeepsItsClaim"),
    Mutation("H7-relay", "shared/sync/document_maker.cpp", [("if (lives.empty() || !names_a_row(", "if (lives.empty() || entry.state.has_side() || !names_a_row(")],
             "Holes.H7_ARelayHandsOnWhatItRefuses"),
    Mutation("H7-late", "shared/sync/core_fold.cpp", [("side.columns = left;", ""), ("if (left.empty()) life->side = nullptr;", "")],
             "Holes.H7_TakenInLateItOverwritesNothingNewer"),
    Mutation("H7-discard", "shared/sync/applier.cpp",
             [("  core_.store.note_local(table, LogOp::update, *entry.key, {});", "  (void)table;")],
             "Holes.H7_WhatIsDiscardedIsGivenUpEverywhere"),
    Mutation("H8", "shared/sync/node_state.hpp", [("return origin == self || partial.empty();", "return origin == self || true;")],
             "Sites.H8_AServerWithSomeTablesHandsNothingOn"),
    Mutation("H9", "shared/sync/shipping.cpp",
             [("core.cut(forced);", "core.cut(forced);\n  core.store.commit();\n  core.store.begin(TransactionKind::read);")],
             "Holes.H9_ADocumentEndsAtTheSnapshotThatReadItsRows"),
    Mutation("H10", "shared/sync/document_maker.cpp",
             [("for (auto& [origin, position] : order.from) {", "for (auto& [origin, position] : order.from) {\n    if (!from.empty()) break;")],
             "Holes.H10_ADocumentBringsAllOrigins"),
    Mutation("H11", "shared/sync/applier.cpp",
             [("if (begin.number == here->second.number && begin.tag != 0", "if (false && begin.tag != 0"),
              ("if (to.number == here->second.number && to.tag != here->second.tag", "if (false && to.tag != here->second.tag")],
             "Holes.H11_PositionsOfAnotherHistoryAreRefused"),
    Mutation("H12a", "shared/sync/applier_keys.cpp",
             [("if (from && target && !target->dead(state_.truncated(table.id))) carry", "if (false) carry")],
             "Holes.H12a_WhoWroteToTheLoserCarriesItOver"),
    Mutation("H12a-delete", "shared/sync/applier_keys.cpp",
             [("if (!from.removed.settled() && mine(from.removed.origin)) {", "if (false) {")],
             "Holes.H12a_ADeleteUnderTheOldNumberIsCarriedOver"),
    Mutation("H12a-later", "shared/sync/applier_keys.cpp", [("if (edited && there > written) continue;", "")],
             "Holes.H12a_WhatIsCarriedDoesNotWinOverLaterEdits"),
    Mutation("H12a-replaced", "shared/sync/applier_keys.cpp", [("if (edited) {", "if (edited && !state_.had_seen(written, there)) {")],
             "Holes.H12a_WhatACarriedEditReplacesIsListed"),
    Mutation("H12a-both-ends", "shared/sync/document_maker.cpp", [("if (core.moved_rows.empty()) return;", "if (entries.size() < ~0ul) return;")],
             "Holes.H12a_ARowStandsUnderOneNumberAtAnyTime"),
    Mutation("H12a-together", "shared/sync/applier_keys.cpp",
             [("awaited_[{table.id, to, birth}].push_back({moved.key, moved.birth, moved.values})",
               "awaited_[{table.id, {}, birth}] = {{moved.key, moved.birth, moved.values}}"),
              ("core_.awaited_moves.find({table.id, item.key, life.birth})", "core_.awaited_moves.find({table.id, {}, life.birth})")],
             "Holes.H12a_RowsThatMoveTogetherAreToldApart"),
    Mutation("former-life", "shared/merge/match.cpp", [("if (ended_before_another(life, all, state, context)) return std::nullopt;", "(void)ended_before_another(life, all, state, context);")],
             "Holes.H4_ALaterDeleteOfAFormerLifeHitsThatOneOnly"),
    Mutation("shown-again", "shared/sync/core_history.cpp",
             [("life.in_table && !before->in_table ? applied_at : before->shown_at", "0")],
             "KeptSeeds.WhatHadWaitedWhenItWasShownIsKnownAfterARestart"),
    Mutation("asked-copy", "shared/sync/copying.cpp", [("  if (!core.state.asked_copies.empty()) take_up_asked_copies();\n", "")],
             "NewNode.ACopyThatItWasAskedToTakeIsTakenAfterACrash"),
    Mutation("asked-again", "shared/sync/copying.cpp",
             [("bool again = response.status == 0 || response.status == 429 || response.status >= 500;", "bool again = false;")],
             "NewNode.IsAskedToTakeACopyUntilItAnswers"),
    Mutation("late-former-end", "shared/merge/match.cpp",
             [("  if (ended_before_another(life, all, state, context)) return std::nullopt;\n  if (state.find",
               "  if (!late && ended_before_another(life, all, state, context)) return std::nullopt;\n  if (state.find")],
             "MergeLate.AnEndThatIsHeardOfAgainHitsNotTheRowThatCameAfterIt"),
    Mutation("noted-key", "shared/merge/fold.cpp",
             [("  if (columns.empty() && !state.lives.empty()) return;", "")], "Fold.AKeyThatIsOnlyToBeShippedAddsNoLife"),
    Mutation("former-life-settled", "shared/merge/match.cpp", [("if (!context.copy && ended_before_another(life, all, state, context)) return std::nullopt;", "")],
             "Holes.H4_ALaterDeleteOfAFormerLifeHitsThatOneOnly"),
    Mutation("table-given-up", "shared/sync/waiting_tables.cpp", [("      table.given_up = true;\n", "")],
             "WaitingTables.WhatWaitsTooLongIsGivenUpAndComesByACopy"),
    Mutation("gone-for-good", "shared/sync/waiting_tables.cpp", [("  write_off_the_gone();\n", "")],
             "WaitingTables.WhatNobodyHasIsWaitedForOnlySoLong"),
    Mutation("given-up-written", "shared/sync/waiting_tables.cpp", [("    core.state.parked = std::move(before);\n", "")],
             "WaitingTables.WhatCannotBeWrittenIsNotGivenUp"),
    Mutation("one-side-keeps", "shared/sync/waiting_tables.cpp", [(" && others_have(name)", " && (others_have(name) || true)")],
             "WaitingTables.WhatWaitsOnAllSidesIsNotGivenUp"),
    Mutation("log-crossed", "shared/sync/core.hpp", [("    window.on_begin_lost = [this](Entry& entry) { keep_begin(entry); };\n", "")],
             "Mechanisms.WhatTheLogCrossedIsKnownAfterARestart"),
    Mutation("closed-not-late", "shared/sync/applier.cpp", [(" && !state_.came_with_another(origin)", "")],
             "KeptSeeds.WhatAClosedIncarnationDidComesNoMore"),
    Mutation("closed-late", "shared/sync/applier.cpp", [("state_.came_with_another(origin)", "state_.closed(origin)")],
             "ClockTest.WhatAClosedIncarnationWroteSinceAServerWasAddedArrives"),
    Mutation("given-anew-waits", "shared/sync/core_history.cpp", [("std::max(open_batch.newest, given_anew(entry.hlc));", "std::max(open_batch.newest, entry.hlc);")],
             "KeptSeeds.WhatWasGivenAnewAndWaitsIsKnownAfterACrash"),
    Mutation("H12b", "shared/sync/applier_keys.cpp",
             [("  follow_references(table, moved, to, birth, planned || (target && target->in_table));", "")],
             "Holes.H12b_WhoMadeAChildOfTheLoserTakesItAlong"),
    Mutation("H12b-since", "shared/sync/applier_references.cpp",
             [("one.is(reference.column, before, moved.birth) && one.holds(life.columns)", "one.is(reference.column, before, moved.birth)")],
             "Holes.H12b_AReferenceThatWasChangedSinceStaysWhereItIs"),
    Mutation("H12b-moved-away", "shared/sync/applier_references.cpp",
             [("    if (life.moved && life.moved->version.origin == self && life.moved->version.hlc <= when) continue;\n", "")],
             "Holes.H12b_WhatThisNodeHadMovedAwayIsNotMeant"),
    Mutation("H12b-child-moves", "shared/sync/applier_keys.cpp",
             [("  hand_on_meant(std::exchange(moving_, {}), version);\n", "  moving_.clear();\n  (void)version;\n")],
             "NumberedChildren.AChildThatMovesWithItsParentStaysItsChild"),
    Mutation("H12b-keyed", "shared/sync/applier_references.cpp",
             [("if (reference.to != table.id || (child.keeps_lives_apart() && child.key[0] == reference.column)) continue;",
               "if (reference.to != table.id || std::find(child.key.begin(), child.key.end(), reference.column) != child.key.end()) continue;")],
             "KeyedChildren.LinesGoWithTheirOrder"),
    Mutation("H12b-keyed-twice", "shared/sync/applier_references.cpp",
             [("            if (!shown) awaiting_.push_back(", "            if (false) awaiting_.push_back(")],
             "KeyedChildren.ALineFollowsAnOrderThatMovesTwice"),
    Mutation("H12b-mover-knew", "shared/sync/applier_keys.cpp",
             [("if (written <= from.moved->seen.of(column) && !from.meaning(column)) continue;", "if (written <= from.moved->seen.of(column)) continue;")],
             "NumberedChildren.AReferenceThatTheMoverKnewFollowsItsWritersMeaning"),
    Mutation("H12b-heir-asks", "shared/sync/applier_keys.cpp",
             [("      note_references_of(entry, life);\n", "")],
             "NumberedChildren.AnHeirAsksWhatAChildOfTheGoneOneMeansBeforeItMovesIt"),
    Mutation("H12b-whole-row", "shared/sync/applier_rows.cpp",
             [("  keep_meant(table, item, entry, state, table_row.view());\n", "")],
             "WholeRows.WhoEditsAnotherColumnLeavesTheReferenceItsMeaning"),
    Mutation("H12b-whole-row-own", "shared/merge/fold.cpp",
             [("if (!columns.has(one.column) && one.holds(life->columns))", "if (one.since == 0)")],
             "WholeRows.ItsWritersOwnEditLeavesItItsMeaningToo"),
    Mutation("H12b-waits", "shared/sync/core.cpp",
             [("if (!lacks_changes() || window.size() > most_rows) return false;", "if (batch.newest != 0) return false;")],
             "Holes.H12b_ANoteOutlivesTheWaitOfItsTable"),
    Mutation("H12d", "shared/sync/applier_keys.cpp",
             [("!mine(life.birth.origin) || !life.side) continue;", "!mine(life.birth.origin) || !life.side || life.applied_at != 0) continue;")],
             "Holes.H12d_TheNewNumberCollidesAgain"),
    Mutation("H12d-dead", "shared/sync/applier_keys.cpp",
             [("if (!highest || *entry.key > *highest)", "if (entry.state.in_table() && (!highest || *entry.key > *highest))")],
             "Holes.H12d_TheNewNumberIsAboveThoseOfDeadRows"),
    Mutation("H12-two-heirs", "shared/merge/merge.cpp",
             [("(!life.moved || incoming.moved->version > life.moved->version)", "!life.moved")],
             "Holes.H12_TwoMovesEndInOne"),
    Mutation("H13", "shared/sync/applier.cpp", [("if (hlc_to_ms(header_.hlc) > now_ms + limits::clock_ahead_ms)", "if (false)")],
             "Holes.H13_AClockThatIsRefusedIsNotAdopted"),
    Mutation("H14", "shared/merge/merge.cpp", [("if (!context_.had_seen(theirs, ours)) lost_mine", "lost_mine")],
             "Holes.H14_OnlyWhatWasNotSeenIsListed"),
    Mutation("H15", "shared/merge/match.cpp", [("if (life.birth < context.sender_truncated) return std::nullopt;", "")],
             "Holes.H15_TruncateBeforeMatching"),
    Mutation("H4-copied-again", "shared/merge/match.cpp", [("if (again && state.find(Version{}) && !settled_is_an_older_one(state, life, all, context)) return Version{};", "(void)again, (void)settled_is_an_older_one(state, life, all, context);")],
             "Holes.H4_ARowThatIsCopiedAgainByItsBirthIsNoSecondOne"),
    Mutation("H12a-listed", "shared/sync/applier_keys.cpp",
             [("if (written == life.birth || written.settled()) continue;",
               "if (written == life.birth || written.settled() || mine(written.origin)) continue;")],
             "Holes.H12a_WhatACarriedDeleteTakesFromItsOwnNodeIsListed"),
    Mutation("copy-settles", "shared/sync/copying.cpp", [("    settle_as_source(copy, applier.header().prune_horizon);\n", "")],
             "Membership.ANewNodeTakesNoCopiedRowForTwo"),
    Mutation("second-server", "shared/sync/shipping.cpp", [("peer.had_others || peers.size() > 1", "peer.had_others")],
             "Membership.ANewNodeGetsFromItsSecondServerWhatTheFirstOneLacked"),
    Mutation("dead-hub", "shared/sync/shipping.cpp", [("peer.had_others || peers.size() > 1", "peers.size() > 1")],
             "Membership.WhoIsLinkedGetsWhatADeadHubOwedIt"),
    Mutation("copy-waits", "shared/sync/copying.cpp", [("          if (!copied.ends.empty()) park_as_source(copy);\n", "")],
             "Sites.ACopyFromWhereATableWaitsHasNotAllOfIt"),
    Mutation("copy-of-a-copy", "shared/sync/copying_answers.cpp", [("!copy.checks() && copy.peer != peer.config.id", "!copy.checks() && false")],
             "Membership.WhoWaitsForItsCopyIsNotCopiedFrom"),
    Mutation("given-anew", "shared/sync/core_fold.cpp", [("bool wrong_time = cutting_ &&", "bool wrong_time = false && cutting_ &&")],
             "IdentityTest.APreparedTransactionOfTheWrongTimeIsAsNewAsItsCommit"),
    Mutation("fork-by-versions", "shared/sync/identity.cpp", [("told ? peer.has_of_ours->hlc :", "told ? 0 :")],
             "IdentityTest.WhatWasShippedBeforeACrashIsNotGivenAnew"),
    Mutation("asker-tells", "shared/sync/identity.cpp", [("told_what_it_has(peer) && (!peer.untold || peer.sent_hlc > refused_above);", "told_what_it_has(peer) && peer.greets();")],
             "IdentityTest.AServerThatCannotBeReachedKeepsNoClockWrong"),
    Mutation("removed-ahead", "shared/sync/core_identity.cpp", [("state.fewer_since = std::min(state.fewer_since, store.clock().now());", "")],
             "IdentityTest.WhoIsRemovedInAWrongTimeIsGoneInTheRightOne"),
    Mutation("announced-ahead", "shared/sync/core_identity.cpp", [("if (renewal.corrected) meta.watermark = std::min(meta.watermark, renewal.restart);", "")],
             "IdentityTest.WhatIsAnnouncedInAWrongTimeIsOfTheRightOne"),
    Mutation("last-remover", "shared/sync/core.hpp", [("if (window.unsettled()) newest = std::max(newest, state.fewer_since);", "")],
             "Membership.WhoRemovesAServerLastHearsOfTheOthers"),
    Mutation("refused-is-told", "shared/sync/identity.cpp", [("told_what_it_has(peer) && (!peer.untold || peer.sent_hlc > refused_above);", "told_what_it_has(peer) && peer.met;")],
             "IdentityTest.WhoRefusesADocumentHasNotTakenIt"),
    Mutation("idle-history", "shared/sync/core.cpp", [("return prune_history(idle_records);", "return;")], "Mechanisms.HeartbeatsLeaveNoHistory"),
    Mutation("link-goes", "shared/sync/node_state.cpp",
             [("member.removed = sure && member.linked && !reached.contains(origin);",
               "member.removed = (sure || true) && member.linked && std::any_of(metas.begin(), metas.end(), [&, it = origin](auto& one) {\n"
               "      return one.first != it && one.second.servers && !one.second.servers->contains(it);\n    });")],
             "Membership.ALinkThatGoesTakesNobodyOut"),
    Mutation("unmet-unsaid", "shared/sync/retention.cpp", [("if (core.state.all_met) servers = std::move(met);", "servers = std::move(met);")],
             "Members.WhoMayBeBehindAServerThatWasNotMetIsNotGone"),
    Mutation("removed-everywhere", "shared/sync/node_state.cpp", [("member.removed = sure && member.linked && !reached.contains(origin);", "member.removed = sure && false;")],
             "Membership.WhoIsRemovedEverywhereHoldsNothingBack"),
    Mutation("gone-is-told", "shared/sync/node_state.cpp", [("here->second.linked |= member.removed;", "(void)added;")],
             "Membership.ANewNodeWaitsForNobodyWhoIsGone"),
    Mutation("gone-is-told-later", "shared/sync/node_state.cpp", [("here->second.linked |= member.removed;", "if (added) here->second.linked |= member.removed;")],
             "Membership.WhoIsHeardOfWhileItIsRemovedHoldsNothingBack"),
    Mutation("met-is-linked", "shared/sync/greeting.cpp", [("if (added) owe_announcement(), judge_members();", "if (added) owe_announcement();")],
             "Membership.WhoIsRemovedAsSoonAsItIsMetHoldsNothingBack"),
    Mutation("servers-in-hello", "shared/sync/greeting.cpp", [("if (meta.position == 0 && servers) meta.servers = servers;", "(void)servers, (void)meta;")],
             "Membership.ANewNodeWaitsForNobodyWhoIsGone"),
    Mutation("heir", "shared/sync/applier_keys.cpp", [("if (!known.away()) return other == state_.self;", "(void)known;")],
             "Gone.H12d_AnHeirMovesTheLoserAndWhatRefersToIt"),
    Mutation("new-nodes-meet", "shared/sync/node_state.cpp", [("if (origin == self || meta.position != 0) continue;", "continue;")],
             "NewNodes.ThatMeetBeforeTheirCopiesAreHeard"),
    Mutation("before-its-copy", "shared/sync/copying.cpp", [("  core.rebase(header.hlc, core.state.joined ? perhaps_taken() : 0);\n", "")],
             "NewNodes.WhatIsWrittenBeforeTheCopyIsNewerThanIt"),
    Mutation("keeps-to-itself", "shared/sync/copying.cpp", [("if (core.state.joined || core.state.own_meta().newest == 0) return false;", "if (true) return false;")],
             "NewNode.NobodyGetsAnythingBeforeTheCopy"),
    Mutation("joined-on-disk", "shared/sync/copying.cpp", [("core.state.joined ? perhaps_taken() : 0", "perhaps_taken()")],
             "NewNode.ACrashBeforeTheCopyKeepsNothingOnIt"),
    Mutation("prepared-before-its-copy", "shared/sync/core_identity.cpp",
             [("  renewal.ahead = own_versions_above(taken);\n", "  renewal.ahead = own_versions_above(taken);\n  if (renewal.ahead.empty()) return;\n")],
             "NewNode.APreparedTransactionOfBeforeTheCopyComesToAll"),
    Mutation("truncated-before-its-copy", "shared/sync/core_identity.cpp", [("if (version.origin == before.self) found[id] = version;", "(void)id, (void)version;")],
             "NewNode.ATruncateBeforeTheCopyEmptiesNothingElse"),
    Mutation("truncated-while-copied", "shared/merge/merge.cpp", [("context_.adopted.settled() && !unseen) continue;", "(context_.adopted.settled() || !unseen)) continue;")],
             "MergeTruncated.WhatWasStillToComeOfACopyIsListed"),
    Mutation("truncated-and-anew", "shared/sync/core_identity.cpp", [("      end_what_was_truncated(entry.state, renewal, state.truncated(id));\n", "")],
             "GivenAnew.WhatSomebodyElseTruncatedStaysDead"),
    Mutation("copy-put-off", "shared/sync/copying.cpp", [("if (!put_off(copy, peer, refusal)) end_copy", "end_copy")],
             "NewNodeClock.ItsCopyWaitsForAClockThatIsAhead"),
    Mutation("kept-for-others", "shared/sync/copying.cpp", [("        keep_what_others_lack(horizon, confirmed, kept);\n", "")],
             "NewNode.WhatMayHaveBeenTakenBeforeTheCopyIsHandedOn"),
    Mutation("copy-of-removed", "shared/merge/match.cpp", [("bool ended = (context.behind || context.copy) && life.dead();", "bool ended = context.behind && life.dead();")],
             "NewNodes.HandOnWhatWasRemovedBeforeTheyCame"),
    Mutation("newest-renamed", "shared/sync/core_identity.cpp", [("{Window::renamed_position, watermark, 0, {}, newest_renamed(renewal)};",
               "{Window::renamed_position, watermark, 0, {}, renewal.ahead.empty() ? 0 : newest_renamed(renewal)};")],
             "KeptSeeds.WhatWasWrittenBeforeAWrongTimeIsKnownAsItsOwn"),
    Mutation("behind-the-new", "shared/sync/node_state.cpp", [("if (!known.left && !known.node.empty() && known.node == member->second.node) next.push_back(other);", "(void)other, (void)known;")],
             "NodeStateTest.WhoIsBehindANewIncarnationIsNotGone"),
    Mutation("note-of-its-time", "shared/sync/applier_references.cpp",
             [("Hlc since = std::max(core_.store.clock().tick(), life.columns.of(column).hlc);", "Hlc since = core_.store.clock().tick();")],
             "Gone.H12d_AnHeirWhoseClockIsBehindTakesTheReferencesAlong"),
    Mutation("heir-of-references", "shared/sync/retention.cpp", [("  note_references_of_the_gone();\n}", "}")],
             "Gone.H12b_AnHeirTakesAlongWhatTheGoneOneReferredTo"),
    Mutation("clock-on-disk", "shared/testing/memory_store.cpp", [("if (entry.transaction > read) last", "last")],
             "IdentityTest.AClockThatWasSetRightStaysRightOverACrash"),
    Mutation("renamed-sides", "shared/sync/core_identity.cpp", [("      if (entry.side_stored) mark_side(entry);\n", "")],
             "IdentityTest.RowsThatWaitHaveTheirNewVersionsOnDisk"),
    Mutation("awaits-what-it-took", "shared/sync/receiving.cpp",
             [("  peer.meters.documents_received++;",
               "  core.awaited_elsewhere = std::max(core.awaited_elsewhere, std::min(applier.header().awaited, applier.header().hlc));\n"
               "  peer.meters.documents_received++;")],
             "IdentityTest.NobodyWaitsForAVersionThatWasNotTaken"),
    Mutation("still-announced", "shared/sync/core_identity.cpp", [("watermark = std::min(watermark, renewal.floor);", "watermark = 0;")],
             "ClockTest.TwoThatAreSetRightInOneMomentHearEachOther"),
    Mutation("answer-refused", "shared/sync/identity.cpp", [("(!peer.untold || peer.sent_hlc > refused_above)", "!peer.untold")],
             "ClockTest.AnAnswerThatWasRefusedHoldsNothingUp"),
    Mutation("ahead-is-forgotten", "shared/sync/node.cpp",
             [("std::max(core.announced_ms, last_heartbeat_ms)", "std::max(hlc_to_ms(core.state.own_meta().watermark), last_heartbeat_ms)")],
             "ClockTest.WhatIsAheadOfTheTimeIsForgottenAllTheSame"),
    Mutation("removed-has", "shared/sync/identity.cpp", [("perhaps_taken(), core.state.confirmed});", "perhaps_taken()});")],
             "ClockTest.WhatARemovedServerHasIsNotGivenAnew"),
    Mutation("removed-may-have", "shared/sync/node.cpp", [("if (!peers.contains(id)) note_removed(", "if (false && !peers.contains(id)) note_removed(")],
             "ClockTest.WhatARemovedServerMayHaveIsNotGivenAnew"),
    Mutation("made-before", "shared/sync/identity.cpp", [("    peer.ready = nullptr;                     // it has the versions that were taken back\n", "")],
             "KeptSeeds.WhatWasMadeForAQuestionIsNotHandedOutByTheNextIncarnation"),
    Mutation("answer-taken", "shared/sync/pulling.cpp", [("    peer->untold = true;\n", "")],
             "ClockTest.WhatAnAnswerBroughtIsNotGivenAnew"),
    Mutation("other-positions", "shared/sync/shipping.cpp", [("(follower != known(peer).origin && has_all(follower))", "(false && has_all(follower))")],
             "ClockTest.WhoGotItUnderOtherPositionsNeedsNoCopy"),
    Mutation("all-of-earlier", "shared/sync/shipping.cpp", [("has_all(origin) || (", "(follower == known(peer).origin && has_all(origin)) || (")],
             "ClockTest.WhoHasAllOfTheEarlierIncarnationNeedsNoCopy"),
    Mutation("least-back", "shared/sync/identity.cpp", [("hlc_to_ms(floor)) + least_back_ms) return;", "hlc_to_ms(floor))) return;")],
             "ClockTest.WhatIsAheadOnAllSidesMakesNoNewIncarnation"),
    Mutation("left-after-clock", "shared/sync/applier.cpp",
             [("if (!state_.members.at(state_.follower(origin)).away()) note(origin);", "if (!member.away() || state_.closed(origin)) note(origin);")],
             "ClockTest.WhoLeavesAfterItsClockWasSetRightIsAwaitedByNobody"),
    Mutation("late-truncate-waits", "shared/sync/core.cpp", [("notes_wait(batch) || truncate_waits(batch)", "notes_wait(batch)")],
             "LateTruncate.WhatIsYoungerStays"),
    Mutation("copied-is-taken", "shared/sync/identity.cpp", [("peer.copied.hlc <= refused_above)", "peer.copied.hlc <= refused_above && false)")],
             "ClockTest.WhatAPieceOfACopyBroughtIsNotGivenAnew"),
    Mutation("unread-for-requests", "shared/sync/core.cpp", [("  if (unwritten() >= limits::unwritten_positions) write_alone();\n", "")],
             "Bounds.NeitherDoThoseThatRequestsMake"),
    Mutation("forgotten-alone", "shared/sync/core_identity.cpp", [("return std::min(horizon, state.prune_horizon);", "return state.prune_horizon;")],
             "ClockTest.WhatWasForgottenAloneHoldsNothingUp"),
    Mutation("forgotten-alone-crash", "shared/sync/core_identity.cpp",
             [("if (renewal.forgotten > state.prune_horizon)", "if (false && renewal.forgotten > state.prune_horizon)")],
             "ClockTest.WhatWasForgottenAloneStaysForgottenAfterACrash"),
    Mutation("clock-back-first", "shared/sync/core_identity.cpp",
             [("    store.restart_clock(renewal.restart);  // not before: it must be ahead as long as anything is\n", ""),
              ("  Hlc confirmed = state.own_meta().horizon;\n",
               "  if (renewal.corrected) store.restart_clock(renewal.restart);\n  Hlc confirmed = state.own_meta().horizon;\n")],
             "ClockTest.ANewIncarnationThatCannotBeWrittenIsTriedAgain"),
    Mutation("vanished", "shared/sync/applier_rows.cpp", [("      forget_vanished(table, *entry);", "      entry->state.set_in_table(nullptr);")],
             "Mechanisms.AKeyThatIsNamedOnceMoreIsNoRow"),
    Mutation("next-origin", "shared/sync/identity.cpp", [("return room < least_room ?", "return (room < least_room || true) ?")],
             "NewOrigins.StandWhereTheOldOneStood"),
    Mutation("linked-elsewhere", "shared/sync/node_state.cpp", [("if (!said || old) sure = false;", "if (!said) sure = false;\n    (void)old;")],
             "Gone.WhoIsLinkedElsewhereBeforeItIsUnlinkedIsNotGone"),
    Mutation("H16a", "shared/sync/document_maker.cpp",
             [("writer_.add_row(number_, life.birth, life.columns, row);",
               "{\n      ColumnVersions own = life.columns;\n      for (auto& [column, version] : own.changed)\n"
               "        if (version.origin != core_.state.self) version = own.base;\n      writer_.add_row(number_, life.birth, own, row);\n    }")],
             "Holes.H16a_APutIsAWholeState"),
    Mutation("H16b", "shared/sync/document_maker.cpp",
             [("writer_.add_row(number_, life.birth, life.columns, row);",
               "{\n      ColumnVersions newest;\n      newest.set_all(life.columns.newest());\n      writer_.add_row(number_, life.birth, newest, row);\n    }")],
             "Holes.H16b_AColumnBearsItsOwnVersion"),
    Mutation("H16c", "shared/merge/fold.cpp",
             [("std::erase_if(state.lives, [&](const Life& life) { return life.birth == version && life.removed == version; });", "")],
             "Holes.H16c_OneTransactionIsOneLife"),
    Mutation("H16d", "sqlite_ext/fold.cpp", [("std::max(ms_to_hlc(ms), clock.now() + 1)", "ms_to_hlc(ms)")],
             "Capture.H16d_AnOldEditIsFoldedBehindWhatIsKnown", SQLITE),
    Mutation("H16e", "shared/merge/fold.cpp",
             [("  state.add(Life(version));", "  for (Life& life : state.lives)\n    if (life.side) return life.columns.set_all(version);\n  state.add(Life(version));")],
             "Holes.H16e_AnInsertOverAHiddenRow"),
    Mutation("H16f", "shared/sync/copying.cpp",
             [("        give_up_old_changes(", "        if (false) give_up_old_changes(")],
             "Holes.H16f_WhatWasSentToNobodyIsListedBeforeTheCopy"),
    Mutation("H16g", "shared/sync/applier.cpp",
             [("if (begin.number > here->second.number) throw", "if (false) throw"), ("if (!accept_unknown(origin))", "if (!accept_unknown(origin) && false)")],
             "Holes.H16g_AGapIsRefused"),
    Mutation("H16h", "shared/sync/node_state.cpp", [("if (received == at->second.received.end()) return false;", "if (received == at->second.received.end()) continue;")],
             "Holes.H16h_WhoHasNotHeardOfAMemberConfirmsNothing"),
    Mutation("H16h-late", "shared/sync/node_state.cpp", [("lowest = std::min(lowest, received->second);", "")],
             "NodeStateTest.AHorizonFromBeforeAMemberWasMetDoesNotCoverIt"),
    Mutation("H16i", "shared/sync/shipping.cpp", [("Reach reach = reaches(*peer, origin);", "Reach reach = Reach::no;")],
             "Holes.H16i_WhoHasItInACoarserWindowNeedsNoCopy"),
    Mutation("H16j", "shared/sync/shipping.cpp", [("limit = std::min(limit, oldest - 1);", "(void)oldest;")],
             "Holes.H16j_WhatAServerThatIsOnlyShippedToLacksIsKept"),
    Mutation("H6-contested", "shared/sync/applier_unique.cpp", [("life.contested = is && life.in_table;", "life.contested = false;")],
             "Holes.H6_AClaimThatAWaitingRowContestsDoesNotSettle"),
    Mutation("H6-restart", "shared/sync/core_history.cpp", [("bool side = entry->state.kept_aside();", "bool side = entry->state.has_side();")],
             "Holes.H6_AContestedClaimOutlivesARestart"),
    Mutation("H6-version", "shared/sync/applier_rows.cpp", [("  if (!table.uniques.empty()) recheck_.insert(table.id);", "")],
             "Mechanisms.AYoungerClaimToTheSameValueGivesItUp"),
    Mutation("two-histories", "shared/sync/identity.cpp",
             [("  if (closed.empty()) return;", "  core.handed_on_again.insert(closed.begin(), closed.end());\n  return;")],
             "Histories.NoneIsHiddenByTheOther"),
    Mutation("come-back", "shared/sync/core_identity.cpp", [("next.returning |= !renewal.corrected;", "")],
             "IdentityTest.WhatACopyWroteBeforeItWasAddedIsOnAllNodes"),
    Mutation("come-back-newer", "shared/sync/copying.cpp", [("core.rebase(applier.header().hlc);", "")],
             "IdentityTest.WhatACopyWroteBeforeItWasAddedIsOnAllNodes"),
    Mutation("come-back-known", "shared/sync/identity.cpp", [("if (peer.config.enabled && peer.takes() && knew(peer))", "if (peer.config.enabled && peer.takes())"),
                                                             ], "IdentityTest.ACopyWithNewServersTakesNoCopyFromThem"),
    Mutation("ended-there", "shared/merge/merge.cpp", [("if (removed.settled() || life.removed <= removed) return;", "return;")],
             "MergeAdopted.ALifeThatEndedAtTheSourceEndedAsItSays"),
    Mutation("position-given", "shared/sync/shipping.cpp", [("heard && !core.gave(from)", "false && heard")],
             "KeptSeeds.WhatACopyShipsHidesNothingOfTheOriginal"),
    Mutation("other-history", "shared/sync/receiving.cpp", [("throw OtherHistory{ours->second.newest};", "(void)0;")],
             "KeptSeeds.AnotherHistoryIsNoticedInADocument"),
    Mutation("settled-truncate", "shared/sync/copying.cpp", [("        forget_truncates(applier.header().prune_horizon);\n", "")],
             "KeptSeeds.ATruncateThatHasSettledAtTheSourceKillsNothing"),
    Mutation("came-with", "shared/sync/copying.cpp", [("          came_with(copy);\n", "")],
             "KeptSeeds.WhatHadSettledBeforeTheCopyIsNotLate"),
    Mutation("found-in-the-log", "shared/sync/core.cpp", [("std::max(state.found->unread, batch.newest);", "0;")],
             "Histories.WhatABackupHadInTheLogOnlyIsNoSecondRow"),
    Mutation("begins", "shared/sync/applier.cpp", [("if (begin.number > 0) throw Refusal", "if (false && begin.number > 0) throw Refusal")],
             "Histories.WhatWasMetAfterTheBackupComesAgain"),
    Mutation("comes-back-with-these", "shared/sync/peer.hpp", [(" && !not_given.contains(table);", ";")],
             "Sites.AServerWithSomeTablesComesBackWithThese"),
    Mutation("comes-back-by-all", "shared/sync/identity.cpp", [("(peer.config.all_tables ? sources", "(true ? sources")],
             "Sites.NobodyComesBackByAServerWithSomeTables"),
    Mutation("adopted-truncated", "shared/merge/match.cpp", [("if (truncated && context.copy", "if (false && truncated && context.copy")],
             "MergeAdopted.WhatATruncateKilledThatHasSettledHereIsGone"),
    Mutation("adopted-called", "shared/merge/merge.cpp", [("mine.life.birth = {}, changed = true;", "mine.life.birth = {};")],
             "MergeAdopted.ARowThatIsNewerHereIsCalledAsThere"),
    Mutation("two-ran", "shared/sync/identity.cpp", [("if (copied && misplaced.empty()) renewal.awaited", "if (false) renewal.awaited")],
             "Histories.WhereTwoRanBothGetANewIdentity"),
    Mutation("closed-came-back", "shared/sync/shipping.cpp", [("if (follower == known(peer).origin && follower != origin", "if (false")],
             "Histories.WhereTwoRanBothGetANewIdentity"),
    Mutation("clock-of-who-lost", "shared/sync/identity.cpp", [("  if (!stopped().empty()) return;\n  std::uint64_t now_ms", "  std::uint64_t now_ms")],
             "IdentityTest.WhoLostSomethingKnowsItThoughItsClockIsSetRight"),
    Mutation("adopted-of-two", "shared/merge/match.cpp", [("bool of_two = context", "bool of_two = false && context")],
             "MergeAdopted.OfTwoRowsUnderOneNumberTheSourceHasTheOlder"),
    Mutation("was-self", "shared/sync/shipping.cpp", [(" && !core.was_self(origin);", ";")],
             "IdentityTest.WhoIsPutBackHearsWhatHadBeenForgottenBeforeTheClockWasSetRight"),
    Mutation("two-runs", "shared/sync/core_history.cpp", [(" + now_ms() % lost_numbers", "")], "Histories.TwoRunsFromOneStateCountApart"),
    Mutation("closed-parked", "shared/sync/node_state.cpp", [(" || closed(one.first);", ";")],
             "NodeStateTest.ATableDoesNotWaitForWhatAClosedOriginWrote"),
    Mutation("closed-awaited", "shared/sync/node_state.cpp",
             [("if (meta == metas.end() || !meta->second.received.contains(next)) return true;", "(void)meta;")],
             "NodeStateTest.NothingIsConfirmedBeforeAllHaveSpokenOfANewIncarnation"),
    Mutation("closed-followed", "shared/sync/node_state.cpp", [("if (followed || known", "if ((false && followed) || known")],
             "NodeStateTest.WhoIsFollowedIsClosedWhoeverSaysSo"),
    Mutation("copied-two-lives", "shared/merge/match.cpp", [("!settled_is_an_older_one(state, life, all, context)) return", "(!settled_is_an_older_one(state, life, all, context) || true)) return")],
             "MergeAdopted.OfTwoLivesOfTheSourceOneIsTheRowThatIsHere"),
    Mutation("truncated-late", "shared/merge/merge.cpp", [("bool seen = !all_unseen && context_", "(void)all_unseen;\n      bool seen = context_")],
             "MergeTruncated.WhatWasCommittedAfterTheTruncateWasHeardOfIsListed"),
    Mutation("truncated-twice", "shared/sync/applier_writes.cpp", [("if (waits_to_go) killer =", "if (waits_to_go) return;\n  if (waits_to_go) killer =")],
             "Mechanisms.WhatATruncateKilledUnseenIsListedByTheNextOne"),
    Mutation("whole-row", "shared/sync/core_fold.cpp", [("return table.merge == MergePolicy::row && std", "return false && table.merge == MergePolicy::row && std")],
             "Mechanisms.AnEditThatCountsAsAWholeIsOfTheRowThatShowed"),
    Mutation("renewed-servers", "shared/sync/core_identity.cpp", [("meta.servers = next.metas[renewal.before].servers;", "")],
             "Membership.ANewIncarnationTakesNobodyOut"),
    Mutation("seen-later", "shared/sync/node_state.cpp", [("return loser.hlc <= winner.hlc;", "return true;")],
             "NodeStateTest.NobodyHasSeenWhatItsOriginWroteLater"),
    Mutation("recognised", "shared/sync/applier_rows.cpp", [("bool recognised = from_copy &&", "bool recognised = false && from_copy &&")],
             "Histories.WhatACopySentIsNoSecondRow"),
    Mutation("counted-by-a-copy", "shared/sync/shipping.cpp", [("core.of_earlier_run(from) &&", "false && core.of_earlier_run(from) &&")],
             "Histories.WhatACopyCountedHidesNothingAfterACrash"),
    # The mechanisms that everything rests on (docs/guarantees.md).
    Mutation("progress", "shared/sync/applier.cpp", [("  copy_ = copy;\n  Differences", "  copy_ = copy;" + AHEAD + "  Differences")],
             "Mechanisms.ProgressIsWrittenWithTheRows"),
    Mutation("life", "shared/merge/merge.cpp",
             [("if (incoming.removed > life.removed) life.removed", "if (incoming.removed > life.columns.newest()) life.removed")],
             "Mechanisms.ADeleteEndsTheLifeThatItHadSeen"),
    Mutation("fold", "shared/sync/applier.cpp",
             [("if (!core_.store.log_must_be_read()) return;", "return;"),
              ("if (found.newer_than_log) throw Raced{};", "", "shared/sync/applier_rows.cpp")],
             "Mechanisms.TheLogIsReadBeforeAnApply"),
    Mutation("promise", "shared/sync/core.cpp",
             [("std::min(read.watermark, std::max(state.hlc, batch.newest))", "read.watermark")],
             "Mechanisms.NothingIsGivenAVersionThatWasAnnounced"),
    Mutation("cuts-sqlite", "sqlite_ext/history.cpp",
             [("impl.deliver(impl.given, upto, entry);", "impl.deliver(impl.given, static_cast<std::int64_t>(~0ull >> 1), entry);")],
             "SqliteStore.KeepsTheContractInWal", SQLITE),
    Mutation("echo-sqlite", "sqlite_ext/store.cpp",
             [("if (name.starts_with(\"rowmesh_\")) return SQLITE_IGNORE;", "if (name.starts_with(\"rowmesh_\")) return SQLITE_OK;")],
             "Apply.RunsLocalTriggersWithoutDoublesAndEchoes", SQLITE),
    Mutation("snapshot", "pg_ext/log_reader.cpp", [("if (now.sees(xid)) finished.push_back(xid);", "(void)xid;")],
             "capture:test_a_transaction_that_commits_late_loses_nothing", "postgresql"),
    Mutation("trouble-told", "shared/sync/node.cpp", [("blocked.erase(doing);", "blocked.clear();")],
             "Trouble.WhatFailsForGoodIsInTheStatusUntilItWorks"),
    Mutation("unwritten", "shared/sync/shipping.cpp", [("if (core.unwritten() >= limits::unwritten_positions) return;", "")],
             "Bounds.PositionsThatCannotBeWrittenDoNotGather"),
    Mutation("wanted-rows", "shared/sync/wanted_rows.hpp", [("if (rows_.size() < limits::wanted_rows)", "if (rows_.size() != ~std::size_t{0})")],
             "Bounds.RowsThatMustComeWholeAreNotAllNamed"),
    Mutation("room-aside", "shared/sync/applier_writes.cpp", [("core_.sides().size() + ++put_aside_", "core_.sides().size() + 1 + 0 * ++put_aside_")],
             "Bounds.OneDocumentPutsNoMoreRowsAsideThanThereIsRoomFor"),
    Mutation("time-digits", "pg_ext/types.cpp", [("{TIMEOID, PgForm::time,", "{TIMEOID, PgForm::other,"), ("return time_value(datum);", "(void)time_value; return text_by_output(io, datum);")],
             "types:test_from_sqlite_to_postgresql_and_back", "postgresql"),
    Mutation("echo-postgresql", "pg_ext/worker.cpp", [("{\"session_replication_role\", \"replica\"}", "{\"session_replication_role\", \"origin\"}")],
             "topologies:test_three_nodes_in_a_mesh_mixed", "postgresql"),
]


def run(command, folder=None, limit_s=None, build_folder=SCRATCH / "build"):
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit_s, env=dict(os.environ, ROWMESH_BUILD=str(build_folder)))
    except subprocess.TimeoutExpired:
        return None, "it does not end"
    return done.returncode, done.stdout + done.stderr


def prepare():
    (SCRATCH / "tree").mkdir(parents=True, exist_ok=True)
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=True).stdout.split("\n")
    for path in (SCRATCH / "tree").rglob("*"):  # a test that has another file now must not be there twice
        if path.is_file() and not (TOP / path.relative_to(SCRATCH / "tree")).is_file():
            path.unlink()
    for name in filter(None, files):
        source, target = TOP / name, SCRATCH / "tree" / name
        if not source.is_file() or (target.exists() and target.read_bytes() == source.read_bytes()):
            continue  # its time stays, so that nothing is built again for nothing
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(source.stat().st_mode)
    if not (SCRATCH / "build" / "build.ninja").exists():
        code, output = run(["cmake", "-G", "Ninja", "-S", str(SCRATCH / "tree"), "-B", str(SCRATCH / "build"), "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                            "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1"])
        if code != 0:
            sys.exit(output)


def build(program):
    target = "all" if program == "postgresql" else pathlib.Path(program).name
    code, output = run(["ninja", "-j2", "-C", str(SCRATCH / "build"), target])
    if code == 0 and program == "postgresql":  # its server loads what is installed
        code, output = run(["./dev", "build"], SCRATCH / "tree")
    if code != 0:
        print("\n".join(line for line in output.splitlines() if "error" in line) or output[-2000:])
    return code == 0


# What a test came to: 'passes', 'fails' (by an assertion), or a sentence on why it says nothing.
def outcome(mutation):
    return outcome_in_cluster(mutation) if mutation.program == "postgresql" else outcome_in_program(mutation)


def outcome_in_program(mutation):
    report = SCRATCH / "result.json"
    report.unlink(missing_ok=True)
    code, output = run([str(SCRATCH / "build" / mutation.program), f"--gtest_filter={mutation.test}:*/{mutation.test}/*", f"--gtest_output=json:{report}"],
                       limit_s=TIME_LIMIT_S)
    if code is None:
        return "it does not end"
    if not report.exists():
        return f"it crashes ({code}): {output[-300:]}"
    tests = [test for suite in json.loads(report.read_text())["testsuites"] for test in suite["testsuite"] if test["status"] == "RUN"]
    messages = [one["failure"] for test in tests for one in test.get("failures", [])]
    if not tests or any(test["result"] == "SKIPPED" for test in tests):
        return "there is no such test, or it is left out"
    if any("C++ exception" in message for message in messages):
        return f"it ends by an exception: {messages[0]}"
    return "fails" if messages else "passes" if code == 0 else f"exit code {code} without a failure"


def outcome_in_cluster(mutation):
    module = mutation.test.split(":")[0]
    code, output = run(["/usr/bin/python3", "regress/run.py", "cluster", mutation.test], SCRATCH / "tree", 2 * TIME_LIMIT_S)
    if code is None:
        return "it does not end"
    log = SCRATCH / "build" / "test-logs" / f"test_{module}.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    if "\nRan 1 test in" not in text or "skipped: " in text:
        return f"not one test ran: {output[-300:]}"
    if code == 0:
        return "passes"
    return "fails" if "\nFAIL: " in text and "\nERROR: " not in text else f"it ends by an exception: {output[-300:]}"


# -> what is wrong; '' if the test notices.
def try_out(mutation):
    texts = {}
    for before, after, *other in mutation.edits:
        path = SCRATCH / "tree" / (other[0] if other else mutation.file)
        text = texts.get(path) or path.read_text()
        if text.count(before) != 1:
            return f"the line is there {text.count(before)} times: {before}"
        texts[path] = text.replace(before, after)
    whole = {path: path.read_text() for path in texts}
    for path, text in texts.items():
        path.write_text(text)
    try:
        if not build(mutation.program):
            return "it does not build"
        seen = outcome(mutation)
        return "" if seen == "fails" else "the test passes without it" if seen == "passes" else seen
    finally:
        for path, text in whole.items():
            path.write_text(text)


def main():
    wanted = set(sys.argv[1:])
    chosen = [one for one in MUTATIONS if one.name in wanted or (not wanted - {"postgresql"} and (one.program != "postgresql" or "postgresql" in wanted))]
    if unknown := wanted - {one.name for one in MUTATIONS} - {"postgresql"}:
        sys.exit(f"mutations: there is none of the name {', '.join(sorted(unknown))}")
    prepare()
    for program in sorted({one.program for one in chosen}):
        if not build(program):
            sys.exit("mutations: the tree does not build")
    before = {one.test: outcome(one) for one in chosen}
    bad = 0
    for mutation in chosen:
        whole = before[mutation.test]
        trouble = try_out(mutation) if whole == "passes" else f"with everything in place: {whole}"
        bad += bool(trouble)
        print(f"{mutation.name:16} {mutation.test:60} {'NOT NOTICED: ' + trouble if trouble else 'fails without it'}", flush=True)
    if any(one.program == "postgresql" for one in chosen):
        run(["./dev", "build"], TOP, build_folder=BUILD)  # what PostgreSQL loads is the extension as it is
    sys.exit(f"mutations: {bad} of {len(chosen)} are not noticed" if bad else 0)


if __name__ == "__main__":
    main()
