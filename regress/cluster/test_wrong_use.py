"""Wrong use gets a sentence that says what to do."""
import contextlib

import psycopg2

from harness import ClusterTest
from nodes import SECRET, PostgresServer, link, server_state, wait_streaming

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"


class WrongUse(ClusterTest):
    def both(self, schema=SCHEMA):
        for engine in ("postgresql", "sqlite"):
            yield self.node(engine, "node_" + engine, schema)

    def test_a_table_without_a_key(self):
        for node in self.both("CREATE TABLE loose (a INTEGER, b TEXT)"):
            with self.subTest(node.engine), self.assert_says("loose", "key"):
                node.call("add_table", "loose")

    def test_a_table_that_does_not_exist(self):
        for node in self.both():
            with self.subTest(node.engine), self.assert_says("nowhere"):
                node.call("add_table", "nowhere")

    def test_a_server_that_nobody_added(self):
        for node in self.both():
            for function in ("enable_server", "disable_server", "remove_server", "copy", "test_server"):
                with self.subTest(f"{node.engine} {function}"), self.assert_says("mars"):
                    node.call(function, "mars")

    def test_a_bad_url(self):
        for node in self.both():
            for url in ("not a url", "ftp://127.0.0.1:99", "127.0.0.1:21999", "http://"):
                with self.subTest(f"{node.engine} {url}"), self.assert_says("http"):
                    node.call("add_server", "mars", url, SECRET)

    def test_an_address_that_others_can_reach_needs_a_secret(self):
        node = self.sqlite("open", SCHEMA)
        with self.assert_says("secret", "add_server"):
            node.call("config", "listen", "0.0.0.0:21999")

    def test_a_wrong_secret(self):
        one, two = self.postgres("one", SCHEMA), self.sqlite("two", SCHEMA)
        for node in (one, two):
            node.call("add_table", "*")
        one.call("add_server", "two", two.url, "one secret that is long enough")
        two.call("add_server", "one", one.url, "quite another secret, also long")
        for node, server in ((one, "two"), (two, "one")):
            state = self.wait_for(lambda: server_state(node, server), lambda row: "secret" in (row["last_error"] or ""), "the error names the secret")
            self.assertNotEqual("streaming", state["state"])
            self.assertNotIn("long", state["last_error"])
        one.run("INSERT INTO person VALUES (1, 'not for strangers')")
        self.assertEqual(0, two.one("SELECT count(*) FROM person"))
        two.call("remove_server", "one")
        two.call("add_server", "one", one.url, "one secret that is long enough")
        self.wait_equal([one, two])

    def test_a_server_without_the_preload_line(self):
        self.need("postgresql")
        with PostgresServer("bare", preload="") as server, contextlib.closing(server.connect()) as connection:
            with self.assertRaises(psycopg2.Error) as caught:
                connection.cursor().execute("CREATE EXTENSION rowmesh")
                connection.cursor().execute(SCHEMA)
                connection.cursor().execute("SELECT rowmesh.add_table('person')")
            self.assertIn("shared_preload_libraries", str(caught.exception))

    def test_a_table_that_is_missing_on_the_other_side_waits_and_the_others_flow(self):
        one = self.postgres("one", SCHEMA + "; CREATE TABLE extra (id integer PRIMARY KEY, what text)")
        two = self.sqlite("two", SCHEMA)
        for node in (one, two):
            node.call("add_table", "*")
        link(one, two)
        wait_streaming(two, one)
        one.run("INSERT INTO extra VALUES (1, 'waits')")
        one.run("INSERT INTO person VALUES (1, 'flows')")
        self.wait_equal([one, two], ["person"])
        said = self.wait_for(lambda: str(one.view("status")) + str(two.view("status")) + str(two.view("quarantine")) + str(two.view("tables")),
                             lambda text: "extra" in text, "somebody says that the table 'extra' is missing")
        self.assertIn("extra", said)
        two.run("CREATE TABLE extra (id INTEGER PRIMARY KEY, what TEXT)")
        two.call("add_table", "*")
        two.call("retry")
        self.wait_equal([one, two], ["person", "extra"])

    def test_test_server_says_what_is_wrong(self):
        one, two = self.postgres("one", SCHEMA), self.sqlite("two", SCHEMA)
        link(one, two)
        for node, server in ((one, "two"), (two, "one")):
            self.assertTrue(all(row[1] for row in node.call("test_server", server)), node.call("test_server", server))
        two.stop()
        self.assertFalse(all(row[1] for row in one.call("test_server", "two")))
