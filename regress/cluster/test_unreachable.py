"""A server that nobody can reach, such as a laptop behind a NAT: the others have no URL for it, and it asks them for their changes."""
from harness import ClusterTest
from nodes import SECRET, wait_streaming

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"


class Unreachable(ClusterTest):
    def pair(self, office_engine, laptop_engine):
        office, laptop = self.node(office_engine, "office", SCHEMA), self.node(laptop_engine, "laptop", SCHEMA)
        for node in (office, laptop):
            node.call("add_table", "*")
        office.call("add_server", "laptop", None, SECRET)
        laptop.call("add_server", "office", office.url, SECRET)
        wait_streaming(laptop, office)
        return office, laptop

    def changes_travel_both_ways(self, office_engine, laptop_engine):
        office, laptop = self.pair(office_engine, laptop_engine)
        laptop.run("INSERT INTO note VALUES (1, 'from the laptop')")
        self.wait_equal([office, laptop])
        office.run("INSERT INTO note VALUES (2, 'from the office')")
        self.wait_equal([office, laptop])
        for id in range(10, 40):
            (office if id % 2 else laptop).run(f"INSERT INTO note VALUES ({id}, 'one of many')")
        office.run("UPDATE note SET text = 'edited' WHERE id < 20")
        laptop.run("DELETE FROM note WHERE id = 2")
        self.wait_equal([office, laptop])
        wait_streaming(office, laptop)
        self.assertEqual([], office.view("quarantine") + laptop.view("quarantine"))

    def test_the_laptop_is_sqlite_and_the_office_postgresql(self):
        self.changes_travel_both_ways("postgresql", "sqlite")

    def test_the_laptop_is_postgresql_and_the_office_sqlite(self):
        self.changes_travel_both_ways("sqlite", "postgresql")

    def test_a_long_document_is_asked_for(self):
        office, laptop = self.pair("sqlite", "sqlite")
        office.run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                   "INSERT INTO note SELECT i, 'row number ' || i FROM n")
        self.wait_equal([office, laptop])

    def test_what_was_written_while_it_was_away_waits_for_it(self):
        office, laptop = self.pair("postgresql", "sqlite")
        laptop.stop()
        office.run("INSERT INTO note VALUES (5, 'while you were away')")
        laptop.start()
        self.wait_equal([office, laptop])
