"""Foreign keys and merging: no order of arrival fails on one, and a reference that a merge leaves without its row is listed."""
from harness import ClusterTest

SCHEMA = """CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT);
            CREATE TABLE pet (code TEXT PRIMARY KEY, owner INTEGER REFERENCES person (id), keeper INTEGER);
            CREATE TABLE place (land TEXT, town TEXT, PRIMARY KEY (land, town));
            CREATE TABLE visit (code TEXT PRIMARY KEY, land TEXT, town TEXT, FOREIGN KEY (land, town) REFERENCES place (land, town))"""


def circle(deferrable):
    late = " DEFERRABLE INITIALLY DEFERRED" if deferrable else ""
    return f"""CREATE TABLE a (id TEXT PRIMARY KEY, b TEXT, a TEXT REFERENCES a (id){late});
               CREATE TABLE b (id TEXT PRIMARY KEY, a TEXT REFERENCES a (id){late});
               ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id){late}"""


SQLITE_CIRCLE = """CREATE TABLE a (id TEXT PRIMARY KEY, b TEXT REFERENCES b (id), a TEXT REFERENCES a (id));
                   CREATE TABLE b (id TEXT PRIMARY KEY, a TEXT REFERENCES a (id))"""


class References(ClusterTest):
    def dangling(self, node):
        names = [(row["table"], row["key"], row["column"], row["value"], row["to_table"]) for row in node.view("dangling")]
        return [tuple(name.removeprefix("public.") for name in one) for one in names]

    def test_a_reference_that_a_merge_leaves_dangling_is_listed(self):
        one, two = self.postgres("one", SCHEMA), self.sqlite("two", SCHEMA)
        self.join([one, two], [(one, two)])
        for node in (one, two):
            node.call("add_reference", "pet", "keeper", "person")
        one.run("INSERT INTO person VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy')")
        one.run("INSERT INTO place VALUES ('nl', 'delft'), ('nl', 'leiden')")
        self.wait_equal([one, two])
        for node in (one, two):
            node.call("disable")
        one.run("DELETE FROM person WHERE id < 3")
        one.run("DELETE FROM place WHERE town = 'leiden'")
        two.run("INSERT INTO pet VALUES ('cat', 1, NULL), ('dog', 3, 2), ('owl', NULL, 3)")
        two.run("INSERT INTO visit VALUES ('v1', 'nl', 'delft'), ('v2', 'nl', 'leiden'), ('v3', 'nl', NULL)")
        for node in (one, two):
            self.assertEqual([], self.dangling(node))
            node.call("enable")
        self.wait_equal([one, two])
        expected = [("pet", "'cat'", "owner", "1", "person"), ("pet", "'dog'", "keeper", "2", "person"), ("visit", "'v2'", "land, town", "nl, leiden", "place")]
        for node in (one, two):
            self.assertEqual(expected, sorted(self.dangling(node)), node.name)
            self.assertEqual([], node.view("quarantine"))
        two.run("DELETE FROM visit")
        two.run("UPDATE pet SET owner = 3, keeper = 3")
        self.wait_equal([one, two])
        for node in (one, two):
            self.assertEqual([], self.dangling(node), node.name)

    def test_no_order_of_arrival_fails_on_a_foreign_key(self):
        one, two, three = self.postgres("one", circle(True)), self.sqlite("two", SQLITE_CIRCLE), self.postgres("three", circle(False))
        self.join([one, two, three], [(one, two), (one, three)])
        one.run("BEGIN; INSERT INTO a VALUES ('a1', 'b1', 'a2'), ('a2', 'b1', 'a1'); INSERT INTO b VALUES ('b1', 'a1'); COMMIT")
        self.wait_equal([one, two, three])
        two.run("INSERT INTO b VALUES ('b2', 'a1')")
        two.run("INSERT INTO a VALUES ('a3', 'b2', 'a1')")
        self.wait_equal([one, two, three])
        self.assertEqual(3, three.one("SELECT count(*) FROM a"))
        one.run("BEGIN; DELETE FROM b; DELETE FROM a; COMMIT")
        self.wait_equal([one, two, three])
        self.assertEqual(0, three.one("SELECT count(*) FROM a"))
        for node in (one, two, three):
            self.assertEqual([], node.view("quarantine"), node.name)
            self.assertEqual([], self.dangling(node), node.name)
