"""Everything breaks, again and again, while all nodes are written: kill -9 of workers, sessions, servers and programs, processes that are stopped
for a while, links that are cut, hang or crawl, a disk that is full. A ledger knows what was acknowledged; at the end all nodes are equal and
the ledger holds. Transfers between accounts on one node: whoever reads them elsewhere, at any moment, sees their constant sum.

ROWMESH_NEMESIS_SECONDS (40) and ROWMESH_NEMESIS_SEED (the time) say for how long and in which order.
    ROWMESH_NEMESIS_SECONDS=600 ./dev test cluster nemesis
"""
import contextlib
import os
import random
import sqlite3
import subprocess
import threading
import time

import psycopg2

import places
from harness import ClusterTest
from nemesis import Nemesis, link_through_proxies
from nodes import SqliteNode

SECONDS = float(os.environ.get("ROWMESH_NEMESIS_SECONDS", "40"))
SEED = int(os.environ.get("ROWMESH_NEMESIS_SEED", str(int(time.time()))))
SCHEMA = """
CREATE TABLE entry (id TEXT PRIMARY KEY, value INTEGER NOT NULL, note TEXT);
CREATE TABLE shared_row (id TEXT PRIMARY KEY, a INTEGER, b INTEGER);
CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);
"""
ACCOUNTS, AMOUNT = 10, 100
DISK = "24m"
FAILURES = (psycopg2.Error, sqlite3.Error)


class Writer(threading.Thread):
    """One writer a node. Only it writes its entries, so it knows what each must hold: the last acknowledged value, or one of those whose
    commit it did not hear of."""

    def __init__(self, node, seed, stop, bank):
        super().__init__(daemon=True)
        self.node, self.random, self.stop, self.bank = node, random.Random(seed), stop, bank
        self.ledger = {}   # id -> values that may be there; None: no row
        self.acknowledged = 0
        self.connection = None

    def run(self):
        while not self.stop.is_set():
            try:
                self.connection = self.connection or self.node.connect()
                self.step()
            except FAILURES:
                with contextlib.suppress(Exception):
                    self.connection.close()
                self.connection = None
                self.stop.wait(0.05)
            self.stop.wait(0.01)
        with contextlib.suppress(Exception):
            self.connection.close()

    def step(self):
        if self.bank and self.random.random() < 0.4:
            return self.transfer()
        if self.random.random() < 0.2:
            column, row = self.random.choice("ab"), self.random.randrange(8)
            return self.execute(f"UPDATE shared_row SET {column} = {self.random.randrange(10**6)} WHERE id = 'row {row}'")
        value = self.random.randrange(1, 10**9)
        if not self.ledger or self.random.random() < 0.4:
            id, sql, becomes = f"{self.node.name} {len(self.ledger)}", "INSERT INTO entry VALUES ('{id}', {value}, 'first')", value
        else:
            id = self.random.choice(list(self.ledger))
            if self.ledger[id] == {None}:
                return None
            sql, becomes = "UPDATE entry SET value = {value} WHERE id = '{id}'", value
            if self.random.random() < 0.1:
                sql, becomes = "DELETE FROM entry WHERE id = '{id}'", None
        before = self.ledger.get(id, {None})
        self.ledger[id] = before | {becomes}   # until it is acknowledged both may be
        self.execute(sql.format(id=id, value=value))
        if len(before) > 1 and None in before and becomes is not None and sql.startswith("UPDATE"):
            return None   # the row was perhaps not there: the update may have done nothing
        self.ledger[id] = {becomes}
        return None

    def transfer(self):
        source, target = self.random.sample(range(1, ACCOUNTS + 1), 2)
        self.execute("BEGIN", f"UPDATE account SET amount = amount - 7 WHERE id = {source}",
                     f"UPDATE account SET amount = amount + 7 WHERE id = {target}", "COMMIT")

    def execute(self, *statements):
        cursor = self.connection.cursor()
        try:
            for statement in statements:
                cursor.execute(statement)
        except FAILURES:
            with contextlib.suppress(Exception):
                cursor.execute("ROLLBACK")
            raise
        self.acknowledged += 1


class Auditor(threading.Thread):
    def __init__(self, node, stop):
        super().__init__(daemon=True)
        self.node, self.stop, self.sums, self.reads = node, stop, set(), 0

    def run(self):
        connection = None
        while not self.stop.is_set():
            try:
                connection = connection or self.node.connect()
                cursor = connection.cursor()
                cursor.execute("SELECT sum(amount) FROM account")
                self.sums.add(int(cursor.fetchone()[0]))
                self.reads += 1
            except FAILURES:
                connection = None
            self.stop.wait(0.02)


class Faults(ClusterTest):
    def small_disk(self):
        """A folder on a disk of its own that can be filled. None: this user may not mount one."""
        folder = places.new_folder("small-disk")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            print(f"skipped: a full disk ({done.stderr.strip() or 'mount failed'})")
            return None
        self.addCleanup(subprocess.run, ["umount", "-l", str(folder)], check=False)
        return folder

    def test_t10_t11_t12_t16_t51_l15_l16_all_nodes_are_equal_and_the_ledger_holds_whatever_breaks(self):
        print(f"seed {SEED}, {SECONDS:.0f} s")
        chance = random.Random(SEED)
        disk = self.small_disk()
        small = SqliteNode("small", folder=disk)
        self.nodes.append(small)
        small.run(SCHEMA)
        nodes = [self.postgres("hq", SCHEMA), self.sqlite("north", SCHEMA), small.begin(), self.postgres("south", SCHEMA)]
        proxies = link_through_proxies(nodes)
        for proxy in proxies:
            self.addCleanup(proxy.close)
        for row in range(8):
            nodes[0].run(f"INSERT INTO shared_row VALUES ('row {row}', 0, 0)")
        nodes[0].run("INSERT INTO account VALUES " + ", ".join(f"({id}, {AMOUNT})" for id in range(1, ACCOUNTS + 1)))
        self.wait_equal(nodes)
        stop = threading.Event()
        writers = [Writer(node, SEED + i, stop, bank=i == 0) for i, node in enumerate(nodes)]
        auditors = [Auditor(node, stop) for node in nodes[1:]]
        self.addCleanup(stop.set)
        for thread in writers + auditors:
            thread.start()
        nemesis = Nemesis(chance, nodes, proxies, disk)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            nemesis.strike()
            nemesis.pause(1)
        stop.set()
        for thread in writers + auditors:
            thread.join(60)
        print(f"{len(nemesis.done)} blows, {[writer.acknowledged for writer in writers]} acknowledged, {[auditor.reads for auditor in auditors]} sums read")
        self.wait_equal(nodes, timeout_s=120)
        for writer in writers:
            self.check_ledger(writer, nodes[1])
            self.assertGreater(writer.acknowledged, 20, f"{writer.node.name} wrote")
        for auditor in auditors:
            self.assertEqual({ACCOUNTS * AMOUNT}, auditor.sums, f"sums seen on {auditor.node.name}")
        for node in nodes:
            self.assertEqual([], node.view("quarantine"), node.name)

    def check_ledger(self, writer, reader):
        rows = dict(reader.run("SELECT id, value FROM entry"))
        wrong = {id: (allowed, rows.get(id)) for id, allowed in writer.ledger.items() if rows.get(id) not in allowed}
        self.assertEqual({}, wrong, f"what {writer.node.name} was told and what is there")
