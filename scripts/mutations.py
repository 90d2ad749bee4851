"""Takes one mechanism out at a time, in a scratch copy, and demands that the test that is named for it fails. A test that goes on passing
proves nothing. Called by ./dev check mutations [NAME...]; with 'postgresql' also those that need a server with the extension.

Where a line that is to be changed is not found, the code has moved: put the mend's new place in here."""
import dataclasses
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
             [("if (member.left && origin != self) continue;", f"if (origin != self && (member.left || {NOT_A_NEIGHBOUR})) continue;"),
              ("lowest = std::min(lowest, at == metas.end() ? 0 : at->second.horizon);", "lowest = std::min(lowest, at == metas.end() ? 0 : at->second.watermark);")],
             "Holes.H1_ANeighbourIsNotEverybody"),
    Mutation("H2", "shared/testing/memory_store.cpp", [("if (!prepared.entries.empty()) read.watermark", "if (false) read.watermark")],
             "Holes.H2_TheWatermarkWaitsForWhatIsNotVisible"),
    Mutation("H3", "shared/sync/node_state.cpp",
             [("  if (members.empty() || lowest <= prune_horizon)", "  lowest = horizon(~Hlc{0});\n  if (members.empty() || lowest <= prune_horizon)")],
             "Holes.H3_ReceivedWatermarksAreNotEnough"),
    Mutation("H3-stale", "shared/sync/applier.cpp", [("if (anything_new && header_.horizon < state.prune_horizon)", "if (false)")],
             "Holes.H3_AStaleDocumentIsRefused"),
    Mutation("H4", "shared/merge/match.cpp",
             [("if (!pruned(life.birth) || context.copy) {", "if (state.lives.size() == 1) return state.lives[0].birth;\n  if (!pruned(life.birth) || context.copy) {")],
             "Holes.H4_DeleteAndInsertInOneDocument"),
    Mutation("H5", "shared/merge/merge.cpp",
             [("if (!working.life.dead(context_.truncated)) alive.push_back(&working);",
               "if (!context_.table.keeps_lives_apart() || !working.life.dead(context_.truncated)) alive.push_back(&working);")],
             "Holes.H5_LivesAreIndependent"),
    Mutation("H6", "shared/sync/applier_unique.cpp",
             [("(shown->side->kind != SideKind::hidden && shown->side->kind != SideKind::quarantined)", "shown->side->kind != SideKind::quarantined")],
             "Holes.H6_TheLoserOfAUniqueValueComesBack"),
    Mutation("H6-claim", "shared/merge/window.cpp", [("!lives.front().side && lives.front().meant.empty()", "lives.front().meant.empty()")],
             "Holes.H6_AHiddenRowKeepsItsClaim"),
    Mutation("H7-relay", "shared/sync/document_maker.cpp", [("if (lives.empty() || !names_a_row(", "if (lives.empty() || entry.state.has_side() || !names_a_row(")],
             "Holes.H7_ARelayHandsOnWhatItRefuses"),
    Mutation("H7-late", "shared/sync/core_fold.cpp", [("side.columns = left;", ""), ("if (left.empty()) life->side = nullptr;", "")],
             "Holes.H7_TakenInLateItOverwritesNothingNewer"),
    Mutation("H8", "shared/sync/node_state.hpp", [("return origin == self || partial.empty();", "return true;")],
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
    Mutation("H12", "shared/sync/applier_keys.cpp",
             [("if (from && target && !target->dead(state_.truncated(table.id))) carry", "if (false) carry")],
             "Holes.H12_WhoWroteToTheLoserCarriesItOver"),
    Mutation("H12-children", "shared/sync/applier_keys.cpp",
             [("  follow_references(table, moved, to, birth, planned || (target && target->in_table));", "")],
             "Holes.H12_WhoWroteToTheLoserCarriesItOver"),
    Mutation("H12-two-heirs", "shared/merge/merge.cpp",
             [("(!life.moved || incoming.moved->version > life.moved->version)", "!life.moved")],
             "Holes.H12_TwoMovesEndInOne"),
    Mutation("H13", "shared/sync/applier.cpp", [("if (hlc_to_ms(header_.hlc) > now_ms + limits::clock_ahead_ms)", "if (false)")],
             "Holes.H13_AClockThatIsRefusedIsNotAdopted"),
    Mutation("H14", "shared/merge/merge.cpp", [("if (!context_.had_seen(theirs, ours)) lost_mine", "lost_mine")],
             "Holes.H14_OnlyWhatWasNotSeenIsListed"),
    Mutation("H15", "shared/merge/match.cpp", [("if (life.birth < context.sender_truncated) return std::nullopt;", "")],
             "Holes.H15_TruncateBeforeMatching"),
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
    Mutation("H16g", "shared/sync/applier.cpp",
             [("if (begin.number > here->second.number) throw", "if (false) throw"), ("if (!accept_unknown(origin))", "if (!accept_unknown(origin) && false)")],
             "Holes.H16g_AGapIsRefused"),
    Mutation("H16h", "shared/sync/node_state.cpp", [("if (received == at->second.received.end()) return false;", "if (received == at->second.received.end()) continue;")],
             "NodeStateTest.WhoHasNotHeardOfAMemberConfirmsNothing"),
    Mutation("H16h-late", "shared/sync/node_state.cpp", [("lowest = std::min(lowest, received->second);", "")],
             "NodeStateTest.AHorizonFromBeforeAMemberWasMetDoesNotCoverIt"),
    Mutation("H6-version", "shared/sync/applier_rows.cpp", [("  if (!table.uniques.empty()) recheck_.insert(table.id);", "")],
             "Mechanisms.AYoungerClaimToTheSameValueGivesItUp"),
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
    Mutation("echo-sqlite", "sqlite_ext/store.cpp",
             [("if (name.starts_with(\"rowmesh_\")) return SQLITE_IGNORE;", "if (name.starts_with(\"rowmesh_\")) return SQLITE_OK;")],
             "Apply.RunsLocalTriggersWithoutDoublesAndEchoes", SQLITE),
    Mutation("snapshot", "pg_ext/log_reader.cpp", [("if (now.sees(xid)) finished.push_back(xid);", "(void)xid;")],
             "capture:test_a_transaction_that_commits_late_loses_nothing", "postgresql"),
    Mutation("echo-postgresql", "pg_ext/worker.cpp", [("{\"session_replication_role\", \"replica\"}", "{\"session_replication_role\", \"origin\"}")],
             "topologies:test_three_nodes_in_a_mesh_mixed", "postgresql"),
]


def run(command, folder=None, limit_s=None):
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit_s, env=dict(os.environ, ROWMESH_BUILD=str(SCRATCH / "build")))
    except subprocess.TimeoutExpired:
        return None, "it does not end"
    return done.returncode, done.stdout + done.stderr


def prepare():
    (SCRATCH / "tree").mkdir(parents=True, exist_ok=True)
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=True).stdout.split("\n")
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
    code, output = run(["ninja", "-C", str(SCRATCH / "build"), pathlib.Path(program).name])
    if code != 0:
        print("\n".join(line for line in output.splitlines() if "error" in line) or output[-2000:])
    return code == 0


# -> True: the test passes; False: it fails, crashes or does not end.
def passes(mutation):
    if mutation.program == "postgresql":
        return run(["./dev", "test", "cluster", mutation.test], SCRATCH / "tree", 2 * TIME_LIMIT_S)[0] == 0
    pattern = f"{mutation.test}:*/{mutation.test}/*"
    code, output = run([str(SCRATCH / "build" / mutation.program), f"--gtest_filter={pattern}"], limit_s=TIME_LIMIT_S)
    if code is not None and "[ RUN      ]" not in output:
        sys.exit(f"{mutation.name}: there is no test {mutation.test}")
    return code == 0


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
        if mutation.program != "postgresql" and not build(mutation.program):
            return "it does not build"
        return "the test passes without it" if passes(mutation) else ""
    finally:
        for path, text in whole.items():
            path.write_text(text)


def main():
    wanted = set(sys.argv[1:])
    chosen = [one for one in MUTATIONS if one.name in wanted or (not wanted - {"postgresql"} and (one.program != "postgresql" or "postgresql" in wanted))]
    prepare()
    for program in sorted({one.program for one in chosen} - {"postgresql"}):
        if not build(program):
            sys.exit("mutations: the tree does not build")
    whole = [one for one in chosen if not one.program == "postgresql" and not passes(one)]
    if whole:
        sys.exit("mutations: these fail with everything in place: " + ", ".join(one.test for one in whole))
    bad = 0
    for mutation in chosen:
        trouble = try_out(mutation)
        bad += bool(trouble)
        print(f"{mutation.name:16} {mutation.test:60} {'NOT NOTICED: ' + trouble if trouble else 'fails without it'}", flush=True)
    if any(one.program == "postgresql" for one in chosen):
        run(["./dev", "build"], TOP)  # what PostgreSQL loads is the extension as it is
    sys.exit(f"mutations: {bad} of {len(chosen)} are not noticed" if bad else 0)


if __name__ == "__main__":
    main()
