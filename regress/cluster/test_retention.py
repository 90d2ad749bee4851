"""What is kept for others stays small: log, history and memory are flat under constant load; a server that never comes back costs no more than
the bound that was set, is taken out, and starts again from a copy.

ROWMESH_SOAK_CHANGES (20000): changes in each of the six rounds of the soak test.
"""
import json
import os
import pathlib
import sqlite3

from harness import ClusterTest
from nodes import published, server_state, wait_linked, wait_streaming

SCHEMA = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, n INTEGER NOT NULL DEFAULT 0)"
CHANGES = int(os.environ.get("ROWMESH_SOAK_CHANGES", "20000"))
ROWS = 2000
ROUNDS = 6
MB = 1 << 20


def unsettled(node):
    return published(node)["unsettled"]


def kept_bytes(node):
    """On disk, for others: what the application's own tables take does not count."""
    if node.engine == "postgresql":
        return int(node.one("SELECT sum(pg_total_relation_size(c)) FROM unnest(array['rowmesh.log_0', 'rowmesh.log_1', 'rowmesh.history', 'rowmesh.side']::regclass[]) c"))
    return pathlib.Path(node.file).stat().st_size + pathlib.Path(node.file + "-wal").stat().st_size


def worker_kb(node):
    pid = node.worker_pids()[0] if node.engine == "postgresql" else node.host.pid
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])   # without the buffers that all sessions share


class Flat(ClusterTest):
    def test_t49_log_and_memory_stay_flat_under_constant_load(self):
        nodes = [self.postgres("hq", SCHEMA), self.sqlite("north", SCHEMA)]
        self.join(nodes, [tuple(nodes)])
        nodes[0].run("INSERT INTO item SELECT i, 'row ' || i FROM generate_series(1, %d) i" % ROWS)
        self.wait_equal(nodes)
        seen = []
        for round in range(ROUNDS):
            for first in range(0, CHANGES // 2, ROWS):
                for node in nodes:
                    with_retries(lambda: node.run(f"UPDATE item SET n = n + 1, name = '{node.name} {round} {first}' WHERE id % 2 = {node.engine == 'sqlite':d}"))
            self.wait_equal(nodes, timeout_s=120)
            for node in nodes:
                self.wait_for(lambda: unsettled(node), lambda count: count == 0, f"{node.name} has forgotten what everybody has", 60)
            seen.append([(kept_bytes(node), worker_kb(node)) for node in nodes])
        print(f"bytes kept and kB of the worker after each of {ROUNDS} rounds of {CHANGES} changes: {seen}")
        for i, node in enumerate(nodes):
            early, late = seen[1][i], seen[-1][i]
            self.assertLess(late[0], early[0] * 1.3 + 34 * MB, f"what {node.name} keeps grows")   # two log tables of up to 16 MB take turns
            self.assertLess(late[1], early[1] * 1.25 + 4000, f"the memory of {node.name}'s worker grows")


def with_retries(work):
    for _ in range(50):
        try:
            return work()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
    raise AssertionError("the file was locked all the time")


class Dead(ClusterTest):
    def bound(self, node, seconds):
        if node.engine == "postgresql":
            node.run(f"ALTER DATABASE {node.database} SET rowmesh.retention = {seconds}")
            node.run("SELECT pg_reload_conf()")
        else:
            node.call("config", "retention", str(seconds))

    def dead_peer(self, engine):
        nodes = [self.node(engine, "one", SCHEMA), self.sqlite("two", SCHEMA), self.sqlite("dead", SCHEMA)]
        one, two, dead = nodes
        self.join(nodes, [(one, two), (one, dead), (two, dead)])
        one.run("INSERT INTO item VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0), (4, 'd', 0)")
        self.wait_equal(nodes)
        dead.stop()
        dead.run("UPDATE item SET name = 'never sent' WHERE id = 1")
        dead.run("INSERT INTO item VALUES (50, 'never sent, and new', 0)")
        for node in (one, two):
            self.bound(node, 4)
        one.run("UPDATE item SET name = 'newer' WHERE id IN (1, 2)")
        two.run("DELETE FROM item WHERE id = 3")
        one.run("INSERT INTO item VALUES (9, 'while it was away', 0)")
        for node in (one, two):
            self.wait_for(lambda: server_state(node, "dead")["state"], lambda state: state == "needs copy", f"{node.name} gives it up", 60)
            self.wait_for(lambda: unsettled(node), lambda count: count == 0, f"{node.name} keeps nothing for it", 60)
            wait_streaming(node, two if node is one else one)
        self.wait_equal([one, two])
        for node in (one, two):
            self.bound(node, 604800)
        dead.start()
        self.wait_for(lambda: server_state(dead, "one")["state"], lambda state: state == "needs copy", "it knows", 60)
        self.assertIn("copy", server_state(dead, "one")["last_error"])
        dead.call("copy", "one", direction="pull")
        self.wait_equal(nodes, timeout_s=60)
        wait_linked([(one, two), (one, dead), (two, dead)], timeout_s=60)
        self.assertEqual("newer", dead.one("SELECT name FROM item WHERE id = 1"))
        # What it had written and nobody can merge any more is listed with its values.
        lost = [row for row in dead.view("conflicts") if row["resolution"] == "copied_over"]
        self.assertEqual({"never sent", "never sent, and new"}, {json.loads(row["loser"])["name"] for row in lost})
        dead.run("INSERT INTO item VALUES (60, 'back', 0)")
        one.run("INSERT INTO item VALUES (61, 'welcome', 0)")
        self.wait_equal(nodes)

    def test_t49_m13_a_dead_server_is_given_up_after_the_bound_and_starts_again_from_a_copy_sqlite(self):
        self.dead_peer("sqlite")

    def test_t49_m13_a_dead_server_is_given_up_after_the_bound_and_starts_again_from_a_copy_postgresql(self):
        self.dead_peer("postgresql")

    def test_t50_what_is_not_confirmed_is_kept_however_long_it_takes(self):
        """A node that hears nobody is perhaps the one that is cut off: it forgets nothing by time."""
        one, two = self.sqlite("one", SCHEMA), self.sqlite("two", SCHEMA)
        self.join([one, two], [(one, two)])
        self.bound(one, 2)
        two.stop()
        one.run("INSERT INTO item VALUES (1, 'kept', 0)")
        self.wait_for(lambda: server_state(one, "two")["lag_ms"], lambda lag: lag > 6000, "longer than the bound", 60)
        two.start()
        self.wait_equal([one, two])
