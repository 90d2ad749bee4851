"""Partitioned PostgreSQL tables: rows travel under the name of the table, whatever partition they lie in on each side."""
from harness import ClusterTest

READING = """CREATE TABLE reading (day date, id integer, value numeric, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE reading_2025 PARTITION OF reading FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
             CREATE TABLE reading_rest PARTITION OF reading DEFAULT;"""
SQLITE_READING = "CREATE TABLE reading (id INTEGER, day DATE, value NUMERIC, note TEXT, PRIMARY KEY (id, day))"
TABLES = ["reading"]


class Partitions(ClusterTest):
    def pair(self):
        one = self.postgres("one", READING)
        # The other side is cut differently: by month, in two levels, with another order of columns in one partition.
        two = self.postgres("two", """
          CREATE TABLE reading (id integer, note text, day date, value numeric, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
          CREATE TABLE reading_2025 PARTITION OF reading FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY HASH (id);
          CREATE TABLE reading_2025_a PARTITION OF reading_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
          CREATE TABLE reading_2025_b (value numeric, gone integer, day date NOT NULL, id integer NOT NULL, note text);
          ALTER TABLE reading_2025_b DROP COLUMN gone;
          ALTER TABLE reading_2025 ATTACH PARTITION reading_2025_b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
          CREATE TABLE reading_rest PARTITION OF reading DEFAULT""")
        three = self.sqlite("three", SQLITE_READING)
        nodes = [one, two, three]
        self.join(nodes, [(one, two), (two, three)])
        return nodes

    def test_rows_arrive_in_the_partition_where_they_belong(self):
        one, two, three = nodes = self.pair()
        one.run("INSERT INTO reading (id, day, value) SELECT i, date '2024-12-20' + i, i FROM generate_series(1, 400) i")
        self.wait_equal(nodes, TABLES)
        self.assertEqual(one.one("SELECT count(*) FROM reading_2025"), two.one("SELECT count(*) FROM reading_2025"))
        self.assertGreater(two.one("SELECT count(*) FROM ONLY reading_2025_a"), 100)
        self.assertGreater(two.one("SELECT count(*) FROM ONLY reading_2025_b"), 100)
        two.run("UPDATE reading SET note = 'two was here', value = value * 2 WHERE id % 3 = 0")
        one.run("DELETE FROM reading WHERE id % 5 = 1")
        three.run("INSERT INTO reading VALUES (1000, '2025-07-01', 1, 'from a file')")
        three.run("UPDATE reading SET note = 'three' WHERE id = 7")
        self.wait_equal(nodes, TABLES)
        self.assertEqual([("from a file",)], one.run("SELECT note FROM reading_2025 WHERE id = 1000"))
        for node in nodes:
            self.assertEqual([], node.view("quarantine"))

    def test_a_row_that_moves_to_another_partition(self):
        one, two, three = nodes = self.pair()
        one.run("INSERT INTO reading (id, day, value) VALUES (1, '2025-05-05', 1), (2, '2025-05-05', 2), (3, '2030-01-01', 3)")
        self.wait_equal(nodes, TABLES)
        one.run("UPDATE reading SET day = '2031-05-05' WHERE id = 1")
        self.wait_equal(nodes, TABLES)
        two.run("UPDATE reading SET day = '2025-09-09', note = 'back' WHERE id IN (1, 3)")
        self.wait_equal(nodes, TABLES)
        self.assertEqual([(1,), (2,), (3,)], one.run("SELECT id FROM reading_2025 ORDER BY id"))
        self.assertEqual([(2,), (2,)], [node.run("SELECT count(*) FROM reading WHERE note = 'back'")[0] for node in (one, two)])

    def test_partitions_that_come_and_go(self):
        one, two, three = nodes = self.pair()
        one.run("INSERT INTO reading (id, day, value) VALUES (1, '2025-05-05', 1)")
        self.wait_equal(nodes, TABLES)
        one.run("CREATE TABLE reading_2026 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
        one.run("CREATE TABLE reading_2027 (LIKE reading); ALTER TABLE reading ATTACH PARTITION reading_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')")
        one.run("INSERT INTO reading (id, day, value) VALUES (2, '2026-05-05', 2), (3, '2027-05-05', 3)")
        two.run("INSERT INTO reading (id, day, value) VALUES (4, '2026-06-06', 4), (5, '2027-06-06', 5)")
        one.run("INSERT INTO reading_2027 (id, day, value) VALUES (6, '2027-07-07', 6)")
        self.wait_equal(nodes, TABLES)
        self.assertEqual((2, 3), (one.one("SELECT count(*) FROM reading_2026"), one.one("SELECT count(*) FROM reading_2027")))
        # Rows of a detached partition leave this table only: it was no change of theirs, and the table goes its own way.
        one.run("ALTER TABLE reading DETACH PARTITION reading_2026")
        one.run("INSERT INTO reading_2026 (id, day, value) VALUES (7, '2026-07-07', 7)")
        one.run("INSERT INTO reading (id, day, value) VALUES (8, '2025-07-07', 8)")
        self.wait_for(lambda: two.one("SELECT count(*) FROM reading WHERE id = 8"), lambda count: count == 1, "the row behind it is there")
        self.assertEqual([(2,), (4,)], two.run("SELECT id FROM reading WHERE day >= '2026-01-01' AND day < '2027-01-01' ORDER BY id"))
        self.assertEqual(0, two.one("SELECT count(*) FROM reading WHERE id = 7"))

    def test_a_row_that_no_partition_takes_waits_for_one(self):
        one, three = self.postgres("one", READING), self.sqlite("three", SQLITE_READING)
        one.run("DROP TABLE reading_rest")
        self.join([one, three], [(one, three)])
        three.run("INSERT INTO reading VALUES (1, '2040-01-01', 1, 'nowhere'), (2, '2025-01-01', 2, 'fits')")
        entry = self.wait_for(lambda: one.view("quarantine"), bool, "the row is in quarantine")[0]
        self.assertIn("partition", str(entry))
        self.assertEqual([(2,)], one.run("SELECT id FROM reading"))
        one.run("CREATE TABLE reading_2040 PARTITION OF reading FOR VALUES FROM ('2040-01-01') TO ('2041-01-01')")
        self.wait_equal([one, three], TABLES)
        self.wait_for(lambda: one.view("quarantine"), lambda rows: rows == [], "the quarantine is empty")

    def test_truncate_of_all_and_of_one_partition(self):
        one, two, three = nodes = self.pair()
        one.run("INSERT INTO reading (id, day, value) SELECT i, date '2025-12-20' + i, i FROM generate_series(1, 40) i")
        self.wait_equal(nodes, TABLES)
        one.run("TRUNCATE reading_2025")
        self.wait_equal(nodes, TABLES)
        self.assertEqual(one.one("SELECT count(*) FROM reading"), three.one("SELECT count(*) FROM reading"))
        two.run("TRUNCATE reading")
        two.run("INSERT INTO reading (id, day) VALUES (1, '2025-01-01')")
        self.wait_equal(nodes, TABLES)
        self.assertEqual(1, one.one("SELECT count(*) FROM reading"))

    def test_copy_of_a_partitioned_table(self):
        one, two = self.postgres("one", READING), self.postgres("two", READING)
        one.run("INSERT INTO reading (id, day, value) SELECT i, date '2024-06-01' + i % 700, i FROM generate_series(1, 12000) i")
        self.join([one, two], [(one, two)])
        one.call("copy", "two")
        self.wait_equal([one, two], TABLES)
        self.assertEqual(12000, two.one("SELECT count(*) FROM reading"))

    def test_a_unique_value_in_partitions(self):
        more = READING + "ALTER TABLE reading ADD UNIQUE (note, day)"
        one, two = self.postgres("one", more), self.postgres("two", more)
        self.join([one, two], [(one, two)])
        for node in (one, two):
            node.call("disable")
        one.run("INSERT INTO reading (id, day, note) VALUES (1, '2025-01-01', 'same')")
        two.run("INSERT INTO reading (id, day, note) VALUES (2, '2025-01-01', 'same')")
        for node in (one, two):
            node.call("enable")
        self.wait_equal([one, two], TABLES)
        self.assertEqual(1, one.one("SELECT count(*) FROM reading"))
        one.run("UPDATE reading SET note = 'other'")
        self.wait_for(lambda: two.one("SELECT count(*) FROM reading"), lambda count: count == 2, "the hidden row is back")
        self.wait_equal([one, two], TABLES)
