"""./dev bench: what capturing costs the application that writes, as ratios to the same work without rowmesh, taken in one run."""
import argparse
import io
import os
import pathlib
import resource
import sqlite3
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "regress" / "cluster"))
import places  # noqa: E402
import shipping  # noqa: E402
from shipping import cpu_s  # noqa: E402
from nodes import PostgresNode, PostgresServer, SqliteNode  # noqa: E402

PEERS = TOP.parent / "shared" / "bench" / "peers"
TABLE = """CREATE TABLE item (id bigint PRIMARY KEY, grp integer NOT NULL, val numeric(12,2) NOT NULL, name text NOT NULL,
           ts timestamptz NOT NULL, flag boolean NOT NULL)"""
ROW = "i, i % 100, i / 100.0, 'name of item ' || i, timestamptz '2026-01-01' + i * interval '1 second', i % 2 = 0"


class Side:
    """One of the two databases of a pair: with rowmesh or without."""

    def __init__(self, node, captured):
        self.node, self.captured = node, captured

    def timed(self, work):
        """-> seconds by the clock, and the processor seconds of the session's own server process"""
        spent, started = cpu_s(self.node.connection.info.backend_pid), time.perf_counter()
        work()
        return time.perf_counter() - started, cpu_s(self.node.connection.info.backend_pid) - spent


def pairs(sides, measure, repeat):
    """Alternating order, so that what changes with time hits both. -> [(without, with), ...]"""
    for side in sides:   # files grow and caches fill once, and that belongs to neither
        measure(side)
    seen = {side: [] for side in sides}
    for turn in range(repeat):
        for side in (sides if turn % 2 == 0 else sides[::-1]):
            seen[side].append(measure(side))
    return list(zip(*(seen[side] for side in sides)))


def median_ratio(measured):
    return statistics.median(captured / bare for bare, captured in measured)


def row(title, measured, unit, aim, higher_is_better=False, cpu=None):
    """The ratio is the median of the pairs' ratios; what other programs take from the processors hits the clock, and hardly the CPU time."""
    ratio = median_ratio(measured)
    met = ratio >= aim if higher_is_better else ratio <= aim
    bare, captured = (statistics.median(values) for values in zip(*measured))
    print(f"{title:34} {bare:11.3f} {captured:11.3f} {unit:8} {ratio:6.2f} {f'{median_ratio(cpu):6.2f}' if cpu else '':>6}   "
          f"{'at least' if higher_is_better else 'at most'} {aim:.2f} {'met' if met else 'MISSED'}", flush=True)
    return met


def clock_and_cpu(title, measured, aim):
    return row(title, [(bare[0], captured[0]) for bare, captured in measured], "s", aim,
               cpu=[(max(bare[1], 0.01), captured[1]) for bare, captured in measured])


def postgres_bulk(sides, rows, repeat):
    def measured(prepare, *statements):
        def measure(side):
            for statement in prepare:
                side.node.run(statement)
            side.node.run("CHECKPOINT")
            return side.timed(lambda: [side.node.run(statement) for statement in statements])
        return pairs(sides, measure, repeat)

    fill = f"INSERT INTO item SELECT {ROW} FROM generate_series(1, {rows}) i"
    empty = "TRUNCATE item"
    results = [clock_and_cpu(f"INSERT of {rows} rows", measured([empty], fill), 1.25),
               clock_and_cpu(f"UPDATE of {rows} rows", measured([empty, fill], "UPDATE item SET grp = grp + 1, val = val + 1"), 1.25)]

    lines = io.StringIO("".join(f"{i}\t{i % 100}\t{i / 100}\tname of item {i}\t2026-01-01 00:00:00+00\tt\n" for i in range(1, rows + 1)))

    def copy(side):
        side.node.run(empty)
        side.node.run("CHECKPOINT")
        lines.seek(0)
        with side.node.connection.cursor() as cursor:
            return side.timed(lambda: cursor.copy_expert("COPY item FROM STDIN", lines))

    results.append(clock_and_cpu(f"COPY of {rows} rows", pairs(sides, copy, repeat), 1.25))
    results.append(clock_and_cpu(f"DELETE of {rows} rows", measured([empty, fill], "DELETE FROM item"), 2.0))
    return results


def postgres_singles(sides, count, repeat):
    def measure(side):
        side.node.run("TRUNCATE item")
        with side.node.connection.cursor() as cursor:
            return side.timed(lambda: [cursor.execute("INSERT INTO item VALUES (%s, 1, 1.5, 'name', now(), true)", (id,)) for id in range(count)])
    return clock_and_cpu(f"{count} single commits", pairs(sides, measure, repeat), 1.25)


def pgbench(sides, scale, seconds, repeat):
    def tool(side, *arguments):
        server = side.node.server
        done = subprocess.run([f"{server.bindir}/pgbench", "-h", str(server.folder), "-p", str(server.port), "-U", "postgres", "-n", *arguments,
                               side.node.database], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=places.tidy_environment())
        if done.returncode:
            raise SystemExit(f"pgbench: {done.stdout[-1500:]}")
        return done.stdout

    for side in sides:
        tool(side, "-i", "-q", "-s", str(scale))
        side.node.run("ALTER TABLE pgbench_history ADD COLUMN hid bigserial PRIMARY KEY")
        if side.captured:
            side.node.call("add_table", "*")

    def measure(side):
        out = tool(side, "-N", "-c", "4", "-j", "2", "-T", str(seconds))
        return float(next(line for line in out.splitlines() if line.startswith("tps")).split("=")[1].split()[0])
    return row("pgbench -N -c 4 -j 2", pairs(sides, measure, repeat), "tps", 0.92, higher_is_better=True)


BY_HAND = """CREATE TABLE log (seq INTEGER PRIMARY KEY, tbl, mask, ts, k1);
    CREATE TRIGGER by_hand AFTER INSERT ON item BEGIN INSERT INTO log (tbl, mask, ts, k1) VALUES (64, -1, julianday('now'), NEW.id); END"""


def sqlite_figures(rows, singles, repeat):
    bare, by_hand, node = SqliteNode("bare"), SqliteNode("by_hand"), SqliteNode("captured")
    sides = [Side(bare, False), Side(node, True)]
    try:
        for side in [*sides, Side(by_hand, False)]:
            side.node.run("CREATE TABLE item (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL, d BLOB)")
            side.node.run("PRAGMA synchronous = NORMAL")
        by_hand.run(BY_HAND)
        node.begin()
        node.call("add_table", "*")
        node.stop()   # the worker would be measured too: only the writer's own cost is asked for

        def cpu():
            usage = resource.getrusage(resource.RUSAGE_SELF)
            return usage.ru_utime + usage.ru_stime

        def bulk(side):
            side.node.run("DELETE FROM item")
            started = cpu()
            side.node.run("BEGIN")
            side.node.connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?)",
                                             ((i, i % 100, f"name of item {i:07}", i / 100, b"0123456789abcdef") for i in range(rows)))
            side.node.run("COMMIT")
            return cpu() - started

        def single(side):
            side.node.run("DELETE FROM item")
            started = cpu()
            for id in range(singles):
                side.node.run("INSERT INTO item VALUES (?, 1, 'name', 1.5, NULL)", id)
            return cpu() - started

        return [row(f"SQLite INSERT of {rows} rows, CPU", pairs(sides, bulk, repeat), "s", 2.2),
                row(f"SQLite {singles} single commits, CPU", pairs(sides, single, repeat), "s", 1.4),
                # What a log costs that notes the key alone, and is not even right: INSERT OR REPLACE goes unseen.
                row("  against a log trigger by hand", pairs([Side(by_hand, False), sides[1]], single, repeat), "s", 1.15)]
    finally:
        bare.close()
        by_hand.close()
        node.close()


def postgres_figures(quick, repeat):
    with PostgresServer("bench", settings=shipping.SETTINGS) as server:
        sides = [Side(PostgresNode("bare", server, "bare"), False), Side(PostgresNode("captured", server, "captured"), True)]
        for side in sides:
            side.node.run(TABLE)
        sides[1].node.run("CREATE EXTENSION rowmesh")
        sides[1].node.call("add_table", "item")
        rows, singles = (20000, 2000) if quick else (200000, 20000)
        results = postgres_bulk(sides, rows, repeat)
        results.append(postgres_singles(sides, singles, max(1, repeat // 2)))
        results.append(pgbench(sides, 1 if quick else 10, 2 if quick else 8, repeat))
        for side in sides:
            side.node.disconnect()
    return results


def run_peers(more):
    if not (PEERS / "bench.py").exists():
        raise SystemExit(f"The comparison with other systems is not here: {PEERS}")
    out = pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build")) / "peers"
    arguments = more or ["--systems", "rowmesh,native"]
    subprocess.run([sys.executable, str(PEERS / "bench.py"), "--out", str(out), *arguments], check=True)
    subprocess.run([sys.executable, str(PEERS / "report.py"), str(out)], check=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description="What capturing costs the application that writes.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes: shows that the bench works")
    parser.add_argument("--peers", action="store_true", help="the comparison with other replication systems; arguments after -- go to it")
    parser.add_argument("--repeat", type=int, help="pairs per figure")
    parser.add_argument("--only", choices=["postgresql", "sqlite"], help="one engine alone")
    parser.add_argument("--part", choices=["writer", "shipping"], help="only what capturing costs the writer, or only shipping and applying")
    chosen, more = parser.parse_known_args()
    if chosen.peers:
        return run_peers([argument for argument in more if argument != "--"])
    repeat = chosen.repeat or (1 if chosen.quick else 5)
    engines = {chosen.only} if chosen.only else {"postgresql", "sqlite"}
    print(f"SQLite {sqlite3.sqlite_version}, {places.pg_config('version')}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    results = []
    if chosen.part != "shipping":
        print(f"{'':34} {'without':>11} {'rowmesh':>11} {'':8} {'ratio':>6} {'CPU':>6}   aim")
        if "postgresql" in engines:
            results += postgres_figures(chosen.quick, repeat)
        if "sqlite" in engines:
            results += sqlite_figures(*((20000, 500) if chosen.quick else (200000, 5000)), repeat)
    if chosen.part != "writer":
        results += shipping.figures(engines, chosen.quick, chosen.repeat or (1 if chosen.quick else 3))
    print(f"{sum(results)} of {len(results)} aims met")


if __name__ == "__main__":
    main()
