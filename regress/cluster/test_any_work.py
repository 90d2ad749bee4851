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
from fault_proxy import FaultProxy
from nemesis import Nemesis, link_through_proxies
from nodes import SECRET, server_state

SECONDS = float(os.environ.get("ROWMESH_WORK_SECONDS", "25"))
SEED = int(os.environ.get("ROWMESH_WORK_SEED", str(int(time.time()))))
NAMES = ("hq", "north", "south")
MARK = re.compile(r"\b[a-z]+\d\.\d+\b")


class AnyWork(ClusterTest):
    def begin(self, *engines):
        """Nodes with the same tables, linked all with all. -> them"""
        print(f"seed {SEED}, {SECONDS:.0f} s")
        self.ledger, self.users, self.left = Ledger(), {}, ([], [])
        nodes = [self.node(engine, name, application.schema(engine)) for engine, name in zip(engines, NAMES)]
        proxies = link_through_proxies(nodes)
        self.nemesis = Nemesis(random.Random(SEED), nodes, proxies, None)
        self.addCleanup(lambda: [proxy.close() for proxy in self.nemesis.proxies])
        self.addCleanup(lambda: [self.stop_working(name, 1) for name in list(self.users)])
        return nodes

    def set_to_work(self, node, users=2):
        stop = threading.Event()
        first = SEED * 100 + len(self.users) * 10
        self.users[node.name] = [Application(node, f"{node.name}{user}", first + user, self.ledger, stop) for user in range(users)]
        for user in self.users[node.name]:
            user.start()

    def stop_working(self, name, timeout_s=60):
        """Of one that waits for a row of a prepared transaction of whose end nobody was told that is ended first."""
        users = self.users.pop(name)
        users[0].stop.set()
        for user in users:
            user.join(1)
        if users[0].node.engine == "postgresql":
            self.commit_prepared(users[0].node)
        for user in users:
            user.join(timeout_s)
        self.assertEqual([None] * len(users), [user.failure for user in users])

    def strike_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.nemesis.pause(2)
            self.nemesis.strike()

    def end(self, nodes):
        for node in nodes:
            self.stop_working(node.name)
        for node in nodes:
            if node.engine == "postgresql":
                self.commit_prepared(node)
        print(f"{self.nemesis.done}\n{dict(self.ledger.done)}")
        self.wait_equal(nodes, timeout_s=120)
        self.check(nodes, self.ledger)

    def test_nothing_is_lost_and_all_are_equal_whatever_applications_do(self):
        nodes = self.begin("postgresql", "sqlite", "postgresql")
        for node in nodes:
            self.set_to_work(node)
        self.strike_for(SECONDS)
        self.end(nodes)

    def test_servers_come_and_go_while_applications_go_on(self):
        """A third and a fourth one are added, and written to from the moment they know somebody; then one of the first two leaves for good."""
        hq, north = self.begin("postgresql", "sqlite")
        for node in (hq, north):
            self.set_to_work(node)
        self.strike_for(SECONDS / 4)
        south = self.add("postgresql", "south", hq, north)
        self.strike_for(SECONDS / 4)
        east = self.add("sqlite", "east", north, hq, south)
        self.strike_for(SECONDS / 4)
        for new, old in (south, hq), (hq, south), (east, north), (north, east):
            self.wait_for(lambda: server_state(new, old.name), self.has_its_copy, f"{new.name} has its copy", 120)
        self.take_out(north, [hq, south, east])
        self.strike_for(SECONDS / 4)
        self.end([hq, south, east])

    def has_its_copy(self, state):
        """On a slow machine the queues may stay long as long as applications go on."""
        return state["state"] in ("streaming", "catching up") and state["last_success"]

    def add(self, engine, name, source, *others):
        """Empty, with the same tables. It takes a copy of one while all of them go on."""
        new = self.node(engine, name, application.schema(engine))
        new.call("add_table", "*")
        for old in (source, *others):
            for here, there in ((old, new), (new, old)):
                self.nemesis.proxies.append(FaultProxy(there.url))
                here.call("add_server", there.name, self.nemesis.proxies[-1].url, SECRET)
            if old is source:
                self.set_to_work(new)
        self.nemesis.nodes.append(new)
        return new

    def take_out(self, node, others):
        """Nobody uses it any more; what it has is elsewhere; all forget it."""
        self.stop_working(node.name)
        self.nemesis.nodes.remove(node)
        self.wait_for(lambda: node.call("wait", timeout_ms=15000), lambda answer: answer in (True, 1, [(1,)], [(True,)]), f"what {node.name} has is elsewhere", 240)
        self.left = [*self.listed(node)], [*self.contested(node)]   # what it has listed, nobody else has
        for other in others:
            other.call("remove_server", node.name)
        node.close()

    def commit_prepared(self, node):
        """Those of whose end nobody was told."""
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
        listed = {mark for texts in (self.left[0], *map(self.listed, nodes)) for text in texts for mark in MARK.findall(text)}
        self.assertEqual(set(), ledger.acknowledged - ledger.replaced - shown - listed, "values that were written and are nowhere")
        self.assertEqual(set(), ledger.undone & (shown | listed), "values that were rolled back and are there")
        rows = {mark for table in ("customer", "purchase") for mark, in nodes[0].run(f"SELECT mark FROM {table}")}
        self.assertEqual(set(), ledger.deleted & rows, "rows that were deleted and are there")
        wrong = nodes[0].run("SELECT p.mark, p.customer_id, p.customer_mark, c.id FROM purchase p JOIN customer c ON c.mark = p.customer_mark "
                             "WHERE c.id <> p.customer_id")
        contested = {mark for marks in (self.left[1], *map(self.contested, nodes)) for mark in marks}
        self.assertEqual([], [row for row in wrong if row[0] not in contested], "purchases of somebody else than who was meant")
        for table in ("customer", "purchase"):
            self.assertEqual([], nodes[0].run(f"SELECT mark, count(*) FROM {table} GROUP BY mark HAVING count(*) > 1"), f"rows of {table} that are there twice")
        for node in nodes:
            self.assertEqual([], [row for row in node.view("quarantine") if row.get("kind", "quarantined") == "quarantined"], node.name)
