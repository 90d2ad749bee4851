"""Takes one mechanism out at a time, in a scratch copy, and demands that the test that is named for it fails. A test that goes on passing
proves nothing. Called by ./dev check mutations [NAME...]; with 'postgresql' also those that need a server with the extension.

It counts only if the same copy passes the test with everything in place, builds without the mechanism, and then fails that test by an
assertion: a crash, an exception, a build that breaks or a test that does not end or is not there proves nothing either.

Where a line that is to be changed is not found, the code has moved: put the new place into the lists: mutations_of_holes.py, mutations_of_new_nodes.py,
mutations_of_mechanisms.py."""
import json
import os
import pathlib
import subprocess
import sys

from mutations_of_holes import HOLES
from mutations_of_mechanisms import MECHANISMS
from mutations_of_new_nodes import NEW_NODES
from mutations_of_numbers import NUMBERS

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build"))
SCRATCH = BUILD.with_name(BUILD.name + "-mutations")
TIME_LIMIT_S = 300
MUTATIONS = HOLES + NUMBERS + NEW_NODES + MECHANISMS


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
