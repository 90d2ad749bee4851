"""Runs cluster tests with PostgreSQL under valgrind, and the SQLite extension's tests under it, and reports what it finds in our code: bad reads
and writes, jumps on values that were never set, and for SQLite memory that was lost. usage: valgrind.py [MODULE[:TEST] ...]

PostgreSQL itself writes padding that was never set to its files; that is not reported. What it allocates in its memory contexts valgrind sees as
one block each, so that only memory of C++ is watched byte by byte."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build"))
MODULES = ["test_conflicts", "test_partitions"]
SQLITE = "Worker*:Capture*:Apply*"   # capture, apply, and the thread with its listener and its client
FAULTS = re.compile(r"Invalid (read|write|free)|Mismatched free|Conditional jump|Use of uninitialised|Source and destination overlap|Process terminating")


def stand_in(folder):
    """What pg_ctl starts in place of PostgreSQL."""
    bindir = subprocess.check_output(["pg_config", "--bindir"], text=True).strip()
    script = folder / "postgres"
    script.write_text(f"#!/bin/sh\nexec valgrind --trace-children=yes --quiet --log-file={shlex.quote(str(folder))}/log.%p --num-callers=30 "
                      f"--leak-check=no --error-limit=no {shlex.quote(bindir)}/postgres \"$@\"\n")
    script.chmod(0o755)
    folder.chmod(0o777)   # its servers run as another user
    return script


def faults(folder):
    for log in sorted(folder.glob("log.*")):
        for block in re.split(r"==\d+== \n", log.read_text(errors="replace")):
            if FAULTS.search(block) and "rowmesh" in block:
                yield block.strip()


def sqlite_is_clean():
    command = ["valgrind", "--quiet", "--error-exitcode=3", "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite",
               "--num-callers=30", str(BUILD / "sqlite_ext" / "rowmesh_sqlite_tests"), "--gtest_brief=1", f"--gtest_filter={SQLITE}"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"  SQLite: {'clean' if run.returncode == 0 else run.stdout[-6000:]}", flush=True)
    return run.returncode == 0


def main():
    failed = not sys.argv[1:] and not sqlite_is_clean()
    with tempfile.TemporaryDirectory(prefix="rowmesh-valgrind-") as name:
        folder = pathlib.Path(name)
        environment = os.environ | {"ROWMESH_POSTGRES": str(stand_in(folder))}
        for chosen in sys.argv[1:] or MODULES:
            module, _, test = chosen.partition(":")
            command = [sys.executable, str(TOP / "regress" / "run_module.py"), "cluster", module, str(folder / "result.json"), *([test] if test else [])]
            run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            result = (folder / "result.json").read_text() if (folder / "result.json").exists() else "no result"
            print(f"  {chosen}: {result}", flush=True)
            if '"failed": 0' not in result:
                failed = True
                print(run.stdout[-3000:])
        seen = list(folder.glob("log.*"))
        found = list(faults(folder))
        print("\n\n".join(found))
        print(f"{len(seen)} processes watched, {len(found)} faults", flush=True)
        sys.exit(1 if failed or found or not seen else 0)


main()
