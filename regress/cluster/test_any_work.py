"""Applications do all that applications do, on every node at once, while links, workers and servers break: numbers that collide with what
refers to them, UNIQUE values, cascades, keys that change, upserts, savepoints, prepared transactions, TRUNCATE.

At the end all nodes are equal, nothing waits, nothing that was deleted is there, each child has the parent that was meant, and no value is
lost without a trace (`application.py`).

ROWMESH_WORK_SECONDS (25) and ROWMESH_WORK_SEED (the time) say for how long and in which order.
"""
import os
import random
import re
import threading
import time

import application
from application import Application, Ledger, first_word
from harness import ClusterTest
from nemesis import Nemesis, link_through_proxies
from nodes import published

SECONDS = float(os.environ.get("ROWMESH_WORK_SECONDS", "25"))
SEED = int(os.environ.get("ROWMESH_WORK_SEED", str(int(time.time()))))
MARK = re.compile(r"\b[a-z]+\d\.\d+\b")


class AnyWork(ClusterTest):
    def test_nothing_is_lost_and_all_are_equal_whatever_applications_do(self):
        print(f"seed {SEED}, {SECONDS:.0f} s")
        nodes = [self.node(engine, name, application.schema(engine))
                 for engine, name in (("postgresql", "hq"), ("sqlite", "north"), ("postgresql", "south"))]
        proxies = link_through_proxies(nodes)
        for proxy in proxies:
            self.addCleanup(proxy.close)
        nemesis = Nemesis(random.Random(SEED), nodes, proxies, None)
        ledger, stop = Ledger(), threading.Event()
        self.addCleanup(stop.set)
        users = [Application(node, f"{node.name}{user}", SEED * 10 + i * 2 + user, ledger, stop) for i, node in enumerate(nodes) for user in range(2)]
        for user in users:
            user.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            nemesis.pause(2)
            nemesis.strike()
        stop.set()
        for user in users:
            user.join(1)   # one may wait for a row of a prepared transaction of whose end nobody was told
        self.commit_prepared(nodes)
        for user in users:
            user.join(60)
        self.commit_prepared(nodes)
        self.assertEqual([None] * len(users), [user.failure for user in users])
        print(f"{nemesis.done}\n{dict(ledger.done)}")
        self.wait_equal(nodes, timeout_s=120)
        self.check(nodes, ledger)

    def commit_prepared(self, nodes):
        """Those of whose end nobody was told."""
        for node in nodes:
            if node.engine == "postgresql":
                for name, in node.run("SELECT gid FROM pg_prepared_xacts"):
                    node.run(f"COMMIT PREPARED '{name}'")

    def images(self, node):
        """id of a conflict -> the whole row that lost, as `restore` needs it"""
        table = "rowmesh.conflict" if node.engine == "postgresql" else "rowmesh_conflict"
        return {id: bytes(image or b"").decode("latin-1") for id, image in node.run(f"SELECT id, image FROM {table}")}

    def listed(self, node):
        yield from (str(row) for view in ("conflicts", "quarantine") for row in node.view(view))
        yield from self.images(node).values()

    def contested(self, node):
        """Rows that two changed at once. Where one of them was the renumbering, the reference may be the one that it made."""
        images = self.images(node)
        for row in node.view("conflicts"):
            if row["type"] == "update_origin_differs":
                yield from MARK.findall(images.get(row["id"], "") + str(row))

    def check(self, nodes, ledger):
        shown = {first_word(value) for table in application.TABLES for row in nodes[0].run(f"SELECT mark, note FROM {table}") for value in row}
        listed = {mark for node in nodes for text in self.listed(node) for mark in MARK.findall(text)}
        self.assertEqual(set(), ledger.acknowledged - ledger.replaced - shown - listed, "values that were written and are nowhere")
        self.assertEqual(set(), ledger.undone & (shown | listed), "values that were rolled back and are there")
        rows = {mark for table in ("customer", "purchase") for mark, in nodes[0].run(f"SELECT mark FROM {table}")}
        self.assertEqual(set(), ledger.deleted & rows, "rows that were deleted and are there")
        wrong = nodes[0].run("SELECT p.mark, p.customer_id, p.customer_mark, c.id FROM purchase p JOIN customer c ON c.mark = p.customer_mark "
                             "WHERE c.id <> p.customer_id")
        contested = {mark for node in nodes for mark in self.contested(node)}
        self.assertEqual([], [row for row in wrong if row[0] not in contested], "purchases of somebody else than who was meant")
        for table in ("customer", "purchase"):
            self.assertEqual([], nodes[0].run(f"SELECT mark, count(*) FROM {table} GROUP BY mark HAVING count(*) > 1"), f"rows of {table} that are there twice")
        for node in nodes:
            self.assertEqual([], [row for row in node.view("quarantine") if row.get("kind", "quarantined") == "quarantined"], node.name)
