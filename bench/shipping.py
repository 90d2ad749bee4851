"""What shipping and applying take: latency from commit to visible, rates, the workers' own CPU time, their memory."""
import contextlib
import os
import pathlib
import random
import statistics
import threading
import time

from nodes import PostgresNode, SqliteNode, link, wait_linked

SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
TABLES = {
    "postgresql": """CREATE TABLE item (id bigint PRIMARY KEY, grp integer NOT NULL, val numeric(12,2) NOT NULL, name text NOT NULL,
                     ts timestamptz NOT NULL, flag boolean NOT NULL)""",
    "sqlite": """CREATE TABLE item (id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, val NUMERIC NOT NULL, name TEXT NOT NULL,
                 ts TIMESTAMP NOT NULL, flag BOOLEAN NOT NULL)""",
}
FILL = {
    "postgresql": "INSERT INTO item SELECT i, i % 100, i / 100.0, 'name of item ' || i, timestamptz '2026-01-01' + i * interval '1 second', "
                  "i % 2 = 0 FROM generate_series({first}, {last}) i",
    "sqlite": "INSERT INTO item WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i, i % 100, "
              "i / 100.0, 'name of item ' || i, strftime('%Y-%m-%d %H:%M:%S', 1767225600 + i, 'unixepoch'), i % 2 FROM n",
}
ONE = {
    "postgresql": "INSERT INTO item VALUES ({id}, 1, 1.5, 'one', '2026-01-01 00:00:00+00', true)",
    "sqlite": "INSERT INTO item VALUES ({id}, 1, 1.5, 'one', '2026-01-01 00:00:00', 1)",
}
FIRST_MARK = 1_000_000_000


def cpu_s(pid):
    """The processor time of a process, in steps of 10 ms."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Worker:
    """The process that ships and applies, as the operating system sees it."""

    def __init__(self, node):
        self.pid = node.worker_pids()[0] if node.engine == "postgresql" else node.host.pid

    def own_mb(self):
        """Memory of its own: without PostgreSQL's shared buffers and the program's code."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        return 0.0


class Pair:
    """Two linked nodes; the first is written, the second looked at."""

    def __init__(self, source_engine, target_engine):
        self.stack = contextlib.ExitStack()
        make = {"postgresql": lambda name: PostgresNode(name, settings=SETTINGS), "sqlite": SqliteNode}
        self.source, self.target = make[source_engine]("source"), make[target_engine]("target")
        for node in (self.source, self.target):
            self.stack.callback(node.close)
            node.run(TABLES[node.engine])
            node.begin()
            node.call("add_table", "item")
        link(self.source, self.target)
        wait_linked([(self.source, self.target)])
        self.workers = [Worker(self.source), Worker(self.target)]
        self.marks = FIRST_MARK
        self.insert_one()
        self.wait_row(self.marks)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def insert_one(self):
        self.marks += 1
        self.source.run(ONE[self.source.engine].format(id=self.marks))
        return self.marks

    def wait_row(self, id, pause_s=0.002, timeout_s=300):
        end = time.perf_counter() + timeout_s
        while not self.target.run(f"SELECT 1 FROM item WHERE id = {id}"):
            if time.perf_counter() > end:
                raise SystemExit(f"not shipped after {timeout_s} s; {self.source.view('status')}")
            time.sleep(pause_s)
        return time.perf_counter()

    def fill(self, first, last):
        self.source.run(FILL[self.source.engine].format(first=first, last=last))

    def shipped(self, *statements):
        """-> seconds from the statements' start, from their commit, and the workers' CPU seconds, until the target has all of it."""
        before = [cpu_s(worker.pid) for worker in self.workers]
        started = time.perf_counter()
        for statement in statements:
            self.source.run(statement)
        committed = time.perf_counter()
        ended = self.wait_row(self.insert_one())
        return ended - started, ended - committed, [cpu_s(worker.pid) - spent for worker, spent in zip(self.workers, before)]


class MemoryPeak(threading.Thread):
    def __init__(self, workers):
        super().__init__(daemon=True)
        self.workers, self.ended, self.peaks = workers, threading.Event(), [0.0, 0.0]
        self.start()

    def run(self):
        while not self.ended.wait(0.05):
            self.peaks = [max(peak, worker.own_mb()) for peak, worker in zip(self.peaks, self.workers)]

    def stop(self):
        self.ended.set()
        self.join()
        return self.peaks


def latency(pair, samples):
    pauses, times = random.Random(7), []
    for _ in range(samples):
        time.sleep(pauses.uniform(0.01, 0.06))
        id = pair.insert_one()
        committed = time.perf_counter()
        times.append((pair.wait_row(id, pause_s=0.0002) - committed) * 1000)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.99)]


def show_latency(title, pair, samples):
    middle, worst = latency(pair, samples)
    print(f"{title:34} p50 {middle:6.2f} ms   p99 {worst:6.2f} ms   at most 2 and 20 {'met' if middle <= 2 and worst <= 20 else 'MISSED'}", flush=True)
    return middle <= 2 and worst <= 20


def show_bulk(title, rows, runs):
    whole, after, cpu = (statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs),
                         [statistics.median(run[2][side] for run in runs) / rows * 1e6 for side in (0, 1)])
    print(f"{title:34} {rows / whole:9.0f} rows/s with the writing, {rows / after:9.0f} after its commit; "
          f"CPU a row: {cpu[0]:5.2f} us to ship, {cpu[1]:5.2f} us to apply", flush=True)


def bulk(pair, name, rows, repeat):
    inserts, updates, removals = [], [], []
    for turn in range(repeat):
        first, last = turn * rows + 1, (turn + 1) * rows
        inserts.append(pair.shipped(FILL[pair.source.engine].format(first=first, last=last)))
        updates.append(pair.shipped(f"UPDATE item SET grp = grp + 1, val = val + 1 WHERE id BETWEEN {first} AND {last}"))
        removals.append(pair.shipped(f"DELETE FROM item WHERE id BETWEEN {first} AND {last}"))
    show_bulk(f"{name}: {rows} INSERTs", rows, inserts)
    show_bulk(f"{name}: {rows} UPDATEs", rows, updates)
    show_bulk(f"{name}: {rows} DELETEs", rows, removals)


def backlog(pair, name, transactions):
    """Transactions of 1500 INSERTs, 1000 UPDATEs and 500 DELETEs that wait for a server that was switched off."""
    source = pair.source
    kept = 500 * transactions
    base = 100_000_000
    pair.fill(base, base + kept - 1)
    pair.wait_row(pair.insert_one())
    source.call("disable_server", "target")
    for turn in range(transactions):
        first = base + kept + turn * 1500
        source.run("BEGIN")
        pair.fill(first, first + 1499)
        source.run(f"UPDATE item SET val = val + 1 WHERE id BETWEEN {first} AND {first + 999}")
        source.run(f"DELETE FROM item WHERE id BETWEEN {base + turn * 500} AND {base + turn * 500 + 499}")
        source.run("COMMIT")
    last = pair.insert_one()
    before = [worker.own_mb() for worker in pair.workers]
    memory = MemoryPeak(pair.workers)
    started = time.perf_counter()
    source.call("enable_server", "target")
    spent = pair.wait_row(last) - started
    peaks = memory.stop()
    changes = 3000 * transactions
    print(f"{f'{name}: backlog of {changes}':34} {changes / spent:9.0f} changes/s; memory of the workers: "
          f"{before[0]:.0f} and {before[1]:.0f} MB before, at most {peaks[0]:.0f} and {peaks[1]:.0f} MB", flush=True)


def figures(engines, quick, repeat):
    rows, samples, transactions = (20000, 40, 10) if quick else (200000, 300, 100)
    results = []
    for source, target, name in (("postgresql", "postgresql", "PG to PG"), ("sqlite", "sqlite", "SQLite to SQLite"), ("postgresql", "sqlite", "PG to SQLite")):
        if not {source, target} <= engines:
            continue
        with Pair(source, target) as pair:
            results.append(show_latency(f"{name}: commit to visible", pair, samples))
            bulk(pair, name, rows, repeat)
            backlog(pair, name, transactions)
    return results
