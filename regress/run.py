"""Runs every test suite and adds up what they counted. `./dev test` builds first and then calls this.

usage: run.py [SUITE] [PATTERN]   SUITE: unit, regress, isolation, sqlite, cluster, dashboard, simulator; PATTERN: which tests of it
The last line is 'N passed, N failed, N skipped'; the exit code is 0 only if nothing failed and something ran.
"""
import glob
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
BUILD = pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build"))
LOGS = BUILD / "test-logs"
sys.path.insert(0, str(HERE / "cluster"))


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def run_logged(name, command, limit_s, **more):
    """Runs a command with its output in a log file, in a process group of its own that is ended at the limit. -> (exit code, log text)"""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{name}.log"
    with open(path, "w") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True, **more)
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)   # the cluster suites stop their servers on it
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            out.write(f"\nstopped: not done after {limit_s} s\n")
            code = None
    return code, path.read_text(errors="replace")


def show_failure(name, text, lines=40):
    print(f"---- {name}: the end of {LOGS / (name + '.log')}")
    print("\n".join(text.splitlines()[-lines:]))
    print("----", flush=True)


def gtest_suite(binary, pattern):
    name = pathlib.Path(binary).name
    result = LOGS / f"{name}.json"
    LOGS.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    command = [binary, f"--gtest_output=json:{result}", "--gtest_brief=1"]
    if pattern:
        command.append(f"--gtest_filter=*{pattern}*")
    code, text = run_logged(name, command, 400)
    if not result.exists():   # it crashed or hung: whatever it had passed, that is one failure at least
        show_failure(name, text)
        return Counts(failed=1)
    report = json.loads(result.read_text())
    skipped = sum(test.get("result") == "SKIPPED" for suite in report.get("testsuites", []) for test in suite["testsuite"])
    counts = Counts(report["tests"] - report["failures"] - report.get("disabled", 0) - skipped, report["failures"], skipped)
    if code != 0:
        show_failure(name, text)
        counts.failed = max(counts.failed, 1)
    return counts


def unit(pattern):
    total = Counts()
    binaries = [p for p in glob.glob(str(BUILD / "**" / "*_tests"), recursive=True) if os.access(p, os.X_OK) and os.path.isfile(p)]
    for binary in sorted(binaries):
        total.add(gtest_suite(binary, pattern))
    return total


def regress_with(runner, names):
    """pg_regress or pg_isolation_regress against a throw-away server."""
    if not names:
        return Counts()
    if not (BUILD / "pg_ext" / "rowmesh.so").exists():
        print(f"  {runner}: left out, the PostgreSQL extension is not built here")
        return Counts(skipped=len(names))
    from nodes import PostgresServer, pg_tool   # only here: the unit suite runs without PostgreSQL's client library
    with PostgresServer("regress") as server:
        output = LOGS / "regress"
        output.mkdir(parents=True, exist_ok=True)
        command = [pg_tool(runner), f"--inputdir={HERE}", f"--outputdir={output}", f"--host={server.folder}",
                   f"--port={server.port}", "--user=postgres", "--dbname=rowmesh_regress", f"--bindir={server.bindir}", *names]
        code, text = run_logged(runner, command, 300)
    diffs = output / "regression.diffs"
    passed = len(re.findall(r"\.\.\. ok\b|^ok \d", text, re.M))   # before PostgreSQL 16, and since
    failed = len(re.findall(r"\.\.\. FAILED|^not ok \d", text, re.M))
    if code != 0:
        show_failure(runner, text + (diffs.read_text(errors="replace") if diffs.exists() else ""), 80)
        failed = max(failed, 1)
    return Counts(passed, failed)


def regress(pattern):
    names = sorted(p.stem for p in (HERE / "sql").glob("*.sql") if not pattern or pattern in p.stem)
    return regress_with("pg_regress", names)


def isolation(pattern):
    names = sorted(p.stem for p in (HERE / "specs").glob("*.spec") if not pattern or pattern in p.stem)
    return regress_with("pg_isolation_regress", names)


def sqlite(pattern):
    if not (BUILD / "sqlite_ext" / "rowmesh.so").exists():
        print("  sqlite: left out, the SQLite extension is not built here")
        return Counts(skipped=1)
    return python_modules("sqlite", pattern)


def cluster(pattern):
    return python_modules("cluster", pattern)


def dashboard(pattern):
    return python_modules("dashboard", pattern)


def python_modules(folder, pattern):
    """unittest modules, each in a process of its own. PATTERN: part of a module's name, or MODULE:TEST."""
    total = Counts()
    module, _, test = (pattern or "").partition(":")
    for path in sorted((HERE / folder).glob("test_*.py")):
        if module not in path.stem:
            continue
        result = LOGS / f"{path.stem}.json"
        LOGS.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        command = [sys.executable, str(HERE / "run_module.py"), folder, path.stem, str(result)] + ([test] if test else [])
        started = time.monotonic()
        code, text = run_logged(path.stem, command, 300)
        if not result.exists():
            show_failure(path.stem, text)
            total.failed += 1
            continue
        counts = Counts(**json.loads(result.read_text()))
        if code is None:
            counts.failed += 1
        print(f"  {path.stem}: {counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped, "
              f"{time.monotonic() - started:.0f} s", flush=True)
        for line in re.findall(r"^skipped: .*", text, re.M):
            print(f"    {line}")
        if counts.failed:
            show_failure(path.stem, text, 120)
        total.add(counts)
    return total


class Simulator:
    """The first 2,000 seeds of the simulated cluster, at the lowest priority beside the other suites, which mostly wait."""
    SEEDS, LIMIT_S = 2000, 900

    def __init__(self):
        self.process = None

    def start(self):
        binary = BUILD / "shared" / "rowmesh_sim"
        if not binary.exists():
            return
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = open(LOGS / "simulator.log", "w")
        self.process = subprocess.Popen([str(binary), "--seeds", str(self.SEEDS), "--seconds", str(self.LIMIT_S)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        start_new_session=True, preexec_fn=lambda: os.nice(19))

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def __call__(self, pattern):
        if pattern:
            return Counts()
        if not self.process:
            self.start()
        if not self.process:
            print("  simulator: rowmesh_sim is not built here")
            return Counts(skipped=1)
        try:
            self.process.wait(self.LIMIT_S + 60)
        except subprocess.TimeoutExpired:
            self.stop()
        text = (LOGS / "simulator.log").read_text(errors="replace")
        summary = re.search(r"^(\d+) runs in .*?, (\d+) bad.*$", text, re.M)
        if not summary:
            show_failure("simulator", text)
            return Counts(failed=1)
        print(f"  {summary.group(0)}")
        failed = {int(seed) for seed in re.findall(r"^seed (\d+),", text, re.M)}
        known = failed & self.open_seeds()
        for seed in sorted(known):
            print(f"    known to fail: seed {seed}")
        if failed - known:
            show_failure("simulator", text)
        return Counts(int(summary.group(1)) - len(failed), len(failed - known), len(known))

    def open_seeds(self):
        """What fails and is not understood, with its symptom. A seed goes when its bug goes."""
        lines = (TOP / "shared" / "testing" / "open_seeds.txt").read_text().splitlines()
        return {int(line.split()[0]) for line in lines if line[:1].isdigit()}


simulator = Simulator()
SUITES = {"unit": unit, "regress": regress, "isolation": isolation, "sqlite": sqlite, "cluster": cluster, "dashboard": dashboard,
          "simulator": simulator}


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    pattern = sys.argv[2] if len(sys.argv) > 2 else None
    if wanted and wanted not in SUITES:
        sys.exit(f"run.py: there is no suite '{wanted}'; there are: {', '.join(SUITES)}")
    total = Counts()
    if not wanted and not pattern:
        simulator.start()
    for name, suite in SUITES.items():
        if wanted in (name, None):
            started = time.monotonic()
            print(f"{name}:", flush=True)
            counts = suite(pattern)
            print(f"{name}: {counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped, "
                  f"{time.monotonic() - started:.0f} s", flush=True)
            total.add(counts)
    print(f"{total.passed} passed, {total.failed} failed" + (f", {total.skipped} skipped" if total.skipped else ""), flush=True)
    sys.exit(1 if total.failed or not total.passed else 0)


if __name__ == "__main__":
    try:
        main()
    finally:
        simulator.stop()
