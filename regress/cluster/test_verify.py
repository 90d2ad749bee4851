"""Comparing and mending, servers that get some tables only, and copies whose ends die midway, between the two engines."""
import contextlib

from harness import ClusterTest
from nodes import SECRET, link, wait_linked

SCHEMA = "CREATE TABLE item (id integer PRIMARY KEY, name text)"
ROWS = 6000


class Verify(ClusterTest):
    def differing(self):
        """Rows were changed on the left without being captured, as with triggers switched off."""
        left, right = self.postgres("left", SCHEMA), self.sqlite("right", SCHEMA)
        self.join([left, right], [(left, right)])
        left.run("INSERT INTO item SELECT i, 'row ' || i FROM generate_series(1, 50) i")
        self.wait_equal([left, right])
        left.run("SET session_replication_role = replica; UPDATE item SET name = 'left only' WHERE id = 1; DELETE FROM item WHERE id = 2; "
                 "INSERT INTO item VALUES (51, 'left only'); RESET session_replication_role")
        return left, right

    def said(self, node, word):
        return self.wait_for(lambda: str(node.view("status")), lambda text: f"{word}: " in text and "rows compared" in text, f"{node.name} says what it found", 60)

    def repaired(self, caller, winner):
        left, right = self.differing()
        here, there = (left, right) if caller == "postgresql" else (right, left)
        here.call("verify", there.name)
        self.assertIn("1 differ, 1 only there, 1 only here", self.said(here, "verified"))
        self.assertEqual("row 1", right.one("SELECT name FROM item WHERE id = 1"), "it only looked")
        if here is left:
            here.call("repair", there.name, "item", winner)
        else:
            here.call("repair", there.name, table="item", winner=winner)
        self.wait_equal([left, right])
        left_won = (here is left) == (winner == "here")
        self.assertEqual("left only" if left_won else "row 1", left.one("SELECT name FROM item WHERE id = 1"))
        self.assertEqual(left_won, left.one("SELECT count(*) FROM item WHERE id = 51") == 1)
        self.assertEqual(left_won, left.one("SELECT count(*) FROM item WHERE id = 2") == 0)

    def test_what_differs_is_found_and_ours_wins_from_postgresql(self):
        self.repaired("postgresql", "here")

    def test_what_differs_is_found_and_theirs_wins_from_postgresql(self):
        self.repaired("postgresql", "there")

    def test_what_differs_is_found_and_ours_wins_from_sqlite(self):
        self.repaired("sqlite", "here")

    def test_what_differs_is_found_and_theirs_wins_from_sqlite(self):
        self.repaired("sqlite", "there")


class Leaf(ClusterTest):
    def leaf(self, hub_engine, leaf_engine):
        schema = SCHEMA + "; CREATE TABLE secret (id integer PRIMARY KEY, name text)"
        hub, leaf = self.node(hub_engine, "hub", schema), self.node(leaf_engine, "leaf", schema)
        for node in (hub, leaf):
            node.call("add_table", "*")
        hub.call("add_server", "leaf", leaf.url, SECRET, tables=["item"])
        leaf.call("add_server", "hub", hub.url, SECRET)
        wait_linked([(hub, leaf)])
        hub.run("INSERT INTO secret VALUES (1, 'stays')")
        leaf.run("INSERT INTO secret VALUES (2, 'stays, too')")
        hub.run("INSERT INTO item VALUES (1, 'goes')")
        leaf.run("INSERT INTO item VALUES (2, 'comes')")
        self.wait_equal([hub, leaf], ["item"])
        hub.run("UPDATE item SET name = 'again' WHERE id = 2")
        self.wait_equal([hub, leaf], ["item"])
        self.assertEqual([(1, "stays")], hub.run("SELECT * FROM secret"))
        self.assertEqual([(2, "stays, too")], leaf.run("SELECT * FROM secret"))

    def test_a_leaf_in_sqlite_gets_the_tables_that_were_named_and_no_other(self):
        self.leaf("postgresql", "sqlite")

    def test_a_leaf_in_postgresql_gets_the_tables_that_were_named_and_no_other(self):
        self.leaf("sqlite", "postgresql")


class KilledCopy(ClusterTest):
    def killed(self, source_engine, target_engine, victim):
        source, target = self.node(source_engine, "source", SCHEMA), self.node(target_engine, "target", SCHEMA)
        for first in range(1, ROWS, 500):
            source.run("INSERT INTO item (id, name) VALUES " + ", ".join(f"({id}, 'row {id}')" for id in range(first, first + 500)))
        for node in (source, target):
            node.call("add_table", "*")
        link(source, target, copy="none")
        wait_linked([(source, target)])
        source.call("alter_server", "target", batch_rows=200)
        self.assertEqual(0, target.one("SELECT count(*) FROM item"))
        target.call("copy", "source", direction="pull")
        dying = source if victim == "source" else target
        seen = self.wait_for(lambda: target.one("SELECT count(*) FROM item"), lambda count: count > 0, "the copy is under way")
        self.assertLess(seen, ROWS, "and has not ended")
        dying.kill()
        with contextlib.suppress(Exception):
            dying.disconnect()
        if victim == "source":
            self.assertLess(target.one("SELECT count(*) FROM item"), ROWS, "it was under way")
        dying.start()
        source.run("UPDATE item SET name = 'while it was copied' WHERE id = 1")
        self.wait_equal([source, target], timeout_s=90)
        wait_linked([(source, target)])

    def test_the_taker_of_a_copy_is_killed_sqlite(self):
        self.killed("postgresql", "sqlite", "target")

    def test_the_source_of_a_copy_is_killed_sqlite(self):
        self.killed("sqlite", "sqlite", "source")

    def test_the_taker_of_a_copy_is_killed_postgresql(self):
        self.killed("sqlite", "postgresql", "target")

    def test_the_source_of_a_copy_is_killed_postgresql(self):
        self.killed("postgresql", "sqlite", "source")
