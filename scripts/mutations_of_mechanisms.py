"""The mechanisms that everything rests on (docs/guarantees.md)."""
from mutation import SQLITE, Mutation

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

MECHANISMS = [
    Mutation("both-sides-wait", "shared/sync/shipping.cpp",
             [("  bool given_up = mine != core.state.parked.end() && mine->second.given_up;\n",
               "  bool given_up = mine != core.state.parked.end() && mine->second.given_up;\n"
               "  if (mine != core.state.parked.end() && !mine->second.fits && !given_up) return false;\n")],
             "WaitingOnBothSides.TablesAreTriedAgain"),
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
    Mutation("late-question", "shared/sync/pulling.cpp", [("bool of_this_run = to == instance &&", "bool of_this_run = to != 0 &&")],
             "LateQuestions.OneOfBeforeACrashIsRefused"),
    Mutation("overtaken-question", "shared/sync/pulling.cpp", [("count <= peer.asked_count)) return false;", "count == 0)) return false;")],
             "LateQuestions.OneThatALaterOneHasOvertakenIsRefused"),
    Mutation("trouble-told", "shared/sync/node.cpp", [("blocked.erase(doing);", "blocked.clear();")],
             "Trouble.WhatFailsForGoodIsInTheStatusUntilItWorks"),
    Mutation("unwritten", "shared/sync/shipping.cpp", [("if (core.unwritten() >= limits::unwritten_positions) return;", "")],
             "Bounds.PositionsThatCannotBeWrittenDoNotGather"),
    Mutation("wanted-rows", "shared/sync/wanted_rows.hpp", [("if (rows_.size() < limits::wanted_rows)", "if (rows_.size() != ~std::size_t{0})")],
             "Bounds.RowsThatMustComeWholeAreNotAllNamed"),
    Mutation("H6-alone", "shared/merge/fold.cpp", [("bool alone = integer_key || (here && !here->side);", "bool alone = integer_key;\n  (void)here;")],
             "Holes.H6_WhatIsInsertedAndRemovedTakesNoWaitingRowWithIt"),
    Mutation("H6-over", "shared/sync/applier_unique.cpp", [(" || (there && there != shown);", ";\n    (void)there;")],
             "Holes.H6_AWaitingRowLeavesWhatWasInsertedOverItAlone"),
    Mutation("H12b-inserted", "shared/sync/applier_references.cpp", [("bool inserted_here = !lost && life.applied_at == 0", "bool inserted_here = !lost && life.applied_at == 1")],
             "Holes.H12b_WhatThisNodeInsertedAndMovedLaterIsMeant"),
    Mutation("H7-way", "shared/sync/applier_unique.cpp", [("      give_way(table, candidate);", "      (void)candidate;")],
             "GivesWay.H7_WhatIsRefusedGivesWayToWhoTookItsValue"),
    Mutation("room-aside", "shared/sync/applier_writes.cpp", [("core_.sides().size() + ++put_aside_", "core_.sides().size() + 1 + 0 * ++put_aside_")],
             "Bounds.OneDocumentPutsNoMoreRowsAsideThanThereIsRoomFor"),
    Mutation("time-digits", "pg_ext/types.cpp", [("{TIMEOID, PgForm::time,", "{TIMEOID, PgForm::other,"), ("return time_value(datum);", "(void)time_value; return text_by_output(io, datum);")],
             "types:test_from_sqlite_to_postgresql_and_back", "postgresql"),
    Mutation("echo-postgresql", "pg_ext/worker.cpp", [("{\"session_replication_role\", \"replica\"}", "{\"session_replication_role\", \"origin\"}")],
             "topologies:test_three_nodes_in_a_mesh_mixed", "postgresql"),
]
