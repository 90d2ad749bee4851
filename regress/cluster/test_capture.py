"""What applications write is noticed: all of it, only what was committed, and without a change in what they see."""
import contextlib
import sqlite3
import subprocess
import threading

from harness import ClusterTest, link, wait_linked
from nodes import SECRET

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, team TEXT)"


class PlainSqliteWriter(ClusterTest):
    def setUp(self):
        super().setUp()
        self.site, self.office = self.sqlite("site", SCHEMA), self.postgres("office", SCHEMA)
        self.join([self.site, self.office], [(self.site, self.office)])

    def test_a_python_program_without_the_extension_is_captured(self):
        with contextlib.closing(sqlite3.connect(self.site.file)) as connection:
            connection.execute("INSERT INTO person VALUES (1, 'Ada', NULL), (2, 'Bo', 'red')")
            connection.execute("UPDATE person SET team = 'blue' WHERE id = 1")
            connection.commit()
        self.wait_equal([self.site, self.office])
        self.assertEqual([(1, "Ada", "blue"), (2, "Bo", "red")], self.office.run("SELECT * FROM person ORDER BY id"))

    def test_the_sqlite3_shell_is_captured(self):
        subprocess.run(["sqlite3", self.site.file], input="PRAGMA busy_timeout=5000; INSERT INTO person VALUES (5, 'Cy', 'x'); "
                       "INSERT OR REPLACE INTO person VALUES (6, 'Cy', 'y');", text=True, check=True, stdout=subprocess.DEVNULL)
        self.wait_equal([self.site, self.office])
        self.assertEqual([(6, "Cy", "y")], self.office.run("SELECT * FROM person"))

    def test_replaced_rows_are_shown_elsewhere(self):
        """Symptom: what INSERT OR REPLACE wrote over a row of the same key waited on the other servers behind the old row."""
        self.site.run("INSERT INTO person VALUES (1, 'Ada', 'red'), (2, 'Bo', 'red')")
        self.wait_equal([self.site, self.office])
        self.site.run("INSERT OR REPLACE INTO person VALUES (1, 'Ada', 'blue'), (3, 'Bo', 'blue')")
        self.site.run("UPDATE OR REPLACE person SET id = 1 WHERE id = 3")
        self.wait_equal([self.site, self.office])
        self.assertEqual([(1, "Bo", "blue")], self.office.run("SELECT * FROM person ORDER BY id"))

    def test_errors_changes_and_last_insert_rowid_are_what_they_were(self):
        with contextlib.closing(sqlite3.connect(self.site.file, isolation_level=None, timeout=10)) as connection:
            self.assertEqual(9, connection.execute("INSERT INTO person VALUES (9, 'Di', NULL)").lastrowid)
            self.assertEqual((9, 1), connection.execute("SELECT last_insert_rowid(), changes()").fetchone())
            connection.execute("INSERT INTO person (name) VALUES ('Ed'), ('Flo')")
            self.assertEqual((11, 2), connection.execute("SELECT last_insert_rowid(), changes()").fetchone())
            self.assertEqual(3, connection.execute("UPDATE person SET team = 'green'").rowcount)
            with self.assertRaisesRegex(sqlite3.IntegrityError, "UNIQUE constraint failed: person.name"):
                connection.execute("INSERT INTO person VALUES (20, 'Di', NULL)")
            with self.assertRaisesRegex(sqlite3.IntegrityError, "NOT NULL constraint failed: person.name"):
                connection.execute("INSERT INTO person VALUES (21, NULL, NULL)")
            self.assertEqual(3, connection.execute("DELETE FROM person").rowcount)
        self.wait_equal([self.site, self.office])

    def test_what_a_savepoint_or_a_rollback_undoes_is_not_shipped(self):
        with contextlib.closing(sqlite3.connect(self.site.file, isolation_level=None, timeout=10)) as connection:
            for statement in ("BEGIN", "INSERT INTO person VALUES (1, 'stays', NULL)", "SAVEPOINT s", "INSERT INTO person VALUES (2, 'goes', NULL)",
                              "UPDATE person SET team = 'goes'", "ROLLBACK TO s", "COMMIT",
                              "BEGIN", "INSERT INTO person VALUES (3, 'goes too', NULL)", "ROLLBACK",
                              "INSERT INTO person VALUES (4, 'last', NULL)"):
                connection.execute(statement)
        self.wait_equal([self.site, self.office])
        self.assertEqual([(1, "stays", None), (4, "last", None)], self.office.run("SELECT * FROM person ORDER BY id"))


class LongTransactions(ClusterTest):
    """Symptom: rows that one transaction had deleted and inserted again were missing on the other server. Mechanism: a long transaction writes
    several log records, and they were read by their places in the log table; the last, small one could find room on an earlier page,
    so its inserts were read before the deletes. The same by savepoints: the inner record is written before the outer one. Fix: records are
    numbered as they are begun."""

    def setUp(self):
        super().setUp()
        self.one, self.two = self.postgres("one", SCHEMA), self.postgres("two", SCHEMA)
        self.join([self.one, self.two], [(self.one, self.two)])
        self.one.run("INSERT INTO person SELECT i, 'person ' || i FROM generate_series(1, 20000) i")
        for number in range(5):   # small records, which leave room on their page
            self.one.run("UPDATE person SET team = ? WHERE id = 1", str(number))
        self.wait_equal([self.one, self.two])

    def test_all_rows_deleted_and_inserted_again(self):
        with contextlib.closing(self.one.connect(autocommit=False)) as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM person")
            cursor.execute("INSERT INTO person SELECT i, 'again ' || i FROM generate_series(1, 20000) i")
            connection.commit()
        self.wait_equal([self.one, self.two])
        self.assertEqual(20000, self.two.one("SELECT count(*) FROM person WHERE name LIKE 'again%'"))

    def test_a_row_deleted_before_a_savepoint_and_inserted_in_it(self):
        with contextlib.closing(self.one.connect(autocommit=False)) as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM person WHERE id <= 10")
            cursor.execute("SAVEPOINT nested")
            cursor.execute("INSERT INTO person SELECT i, 'again ' || i FROM generate_series(1, 10) i")
            cursor.execute("UPDATE person SET team = 'all'")
            cursor.execute("RELEASE SAVEPOINT nested")
            cursor.execute("DELETE FROM person WHERE id = 5")
            connection.commit()
        self.wait_equal([self.one, self.two])
        self.assertEqual([(id,) for id in range(1, 11) if id != 5], self.two.run("SELECT id FROM person WHERE name LIKE 'again%' ORDER BY id"))


class LateCommits(ClusterTest):
    """A cursor that walks along a sequence loses rows here; positions that are snapshots do not."""

    def setUp(self):
        super().setUp()
        self.one, self.two = self.postgres("one", SCHEMA), self.sqlite("two", SCHEMA)
        self.join([self.one, self.two], [(self.one, self.two)])

    def arrived(self, names, description):
        self.wait_for(lambda: {row[0] for row in self.two.run("SELECT name FROM person")}, lambda seen: seen == set(names), description)

    def test_a_transaction_that_commits_late_loses_nothing(self):
        with contextlib.closing(self.one.connect(autocommit=False)) as slow:
            slow.cursor().execute("INSERT INTO person VALUES (1, 'early, commits late', NULL)")
            self.one.run("INSERT INTO person VALUES (2, 'later, commits first', NULL)")
            self.arrived(["later, commits first"], "the transaction that committed first is there")
            slow.commit()
            self.arrived(["later, commits first", "early, commits late"], "the late one is there too")

    def test_a_transaction_from_before_the_servers_met_holds_nothing_up_and_is_not_lost(self):
        """Symptom: as long as it was open nothing came to the new server ("made before what has been forgotten here"), and then its rows were
        missing there. Mechanism and mend: docs/model.md, H17."""
        three = self.sqlite("three", SCHEMA)
        three.call("add_table", "*")
        self.write_alone(three, "INSERT INTO person VALUES (7, 'alone', NULL)")
        with contextlib.closing(self.one.connect(autocommit=False)) as slow:
            slow.cursor().execute("INSERT INTO person VALUES (1, 'early, commits late', NULL)")
            self.arrived([], "nothing is committed yet")
            link(self.one, three)
            wait_linked([(self.one, three)])
            self.one.run("INSERT INTO person VALUES (2, 'later, commits first', NULL)")
            names = lambda: {row[0] for row in three.run("SELECT name FROM person")}   # noqa: E731
            self.wait_for(names, lambda seen: seen == {"alone", "later, commits first"}, "the new server gets what is committed")
            slow.commit()
            self.wait_for(names, lambda seen: "early, commits late" in seen, "and the late one")
        self.arrived(["later, commits first", "early, commits late"], "the old one as well")

    def test_prepared_transactions_arrive_when_they_are_committed_also_after_a_restart(self):
        with contextlib.closing(self.one.connect()) as connection:
            for statement in ("BEGIN", "INSERT INTO person VALUES (1, 'prepared', NULL)", "PREPARE TRANSACTION 'a'",
                              "BEGIN", "INSERT INTO person VALUES (2, 'given up', NULL)", "PREPARE TRANSACTION 'b'",
                              "INSERT INTO person VALUES (3, 'between', NULL)"):
                connection.cursor().execute(statement)
        self.arrived(["between"], "what was committed is there")
        self.one.stop()
        self.one.start()
        self.one.run("COMMIT PREPARED 'a'")
        self.one.run("ROLLBACK PREPARED 'b'")
        self.arrived(["between", "prepared"], "the prepared transaction is there")

    def test_many_writers_with_savepoints_aborts_and_prepared_transactions_lose_nothing(self):
        errors = []

        def write(place):
            connection = self.one.connect()
            cursor = connection.cursor()
            try:
                for number in range(60):
                    id = 1000 * (place + 1) + 10 * number
                    cursor.execute("BEGIN")
                    cursor.execute("INSERT INTO person VALUES (%s, %s, NULL)", (id, f"row {id}"))
                    cursor.execute("SAVEPOINT s")
                    cursor.execute("INSERT INTO person VALUES (%s, %s, NULL)", (id + 1, f"undone {id}"))
                    cursor.execute("ROLLBACK TO s" if number % 2 else "RELEASE s")
                    cursor.execute("UPDATE person SET team = 'late' WHERE id = %s", (id,))
                    if number % 5 == 0:
                        cursor.execute(f"PREPARE TRANSACTION 't{id}'")
                        cursor.execute(f"COMMIT PREPARED 't{id}'")
                    else:
                        cursor.execute("ROLLBACK" if number % 7 == 0 else "COMMIT")
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=write, args=(place,)) for place in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        self.wait_equal([self.one, self.two])
        self.assertGreater(self.two.one("SELECT count(*) FROM person"), 300)


class BetweenTheTwoCalls(ClusterTest):
    """Symptom: what was written after add_server on one server and before add_server on the other never came there, and everything looked
    well. Mechanism and mend: docs/model.md, H17. With a kill -9 in between."""

    def meet_late(self, first, second):
        for node in (first, second):
            node.call("add_table", "*")
        second.run("INSERT INTO person VALUES (9, 'alone', NULL)")
        first.call("add_server", second.name, second.url, SECRET)
        first.run("INSERT INTO person VALUES (1, 'between', NULL)")
        first.run("INSERT INTO person VALUES (2, 'gone again', NULL)")
        first.run("DELETE FROM person WHERE id = 2")
        first.kill()
        first.start()
        first.run("UPDATE person SET team = 'late' WHERE id = 1")
        self.write_alone(second, "UPDATE person SET team = 'own' WHERE id = 9")
        second.call("add_server", first.name, first.url, SECRET)
        self.wait_for(lambda: second.run("SELECT id, name, team FROM person ORDER BY id"),
                      lambda rows: [tuple(row) for row in rows] == [(1, "between", "late"), (9, "alone", "own")], "what was written between the calls")

    def test_postgresql_first(self):
        self.meet_late(self.postgres("one", SCHEMA), self.sqlite("two", SCHEMA))

    def test_sqlite_first(self):
        self.meet_late(self.sqlite("one", SCHEMA), self.postgres("two", SCHEMA))


class PostgresStatements(ClusterTest):
    """Every way in which PostgreSQL changes rows."""

    def setUp(self):
        super().setUp()
        self.schema = SCHEMA + """;
          CREATE TABLE child (id integer PRIMARY KEY, person integer REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
          CREATE TABLE reading (id integer, day date, value numeric, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
          CREATE TABLE reading_2025 PARTITION OF reading FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
          CREATE TABLE reading_2026 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"""
        self.one, self.two = self.postgres("one", self.schema), self.postgres("two", self.schema)
        self.join([self.one, self.two], [(self.one, self.two)])
        self.tables = ["person", "child", "reading"]

    def test_copy_merge_upsert_cascades_and_key_changes_arrive(self):
        one = self.one
        with contextlib.closing(one.connect()) as connection:
            import io
            connection.cursor().copy_expert("COPY person FROM STDIN", io.StringIO("".join(f"{i}\tp{i}\t\\N\n" for i in range(1, 101))))
        one.run("INSERT INTO person VALUES (1, 'p1', 'red'), (200, 'new', 'red') ON CONFLICT (id) DO UPDATE SET team = excluded.team")
        one.run("INSERT INTO child SELECT i, i FROM generate_series(1, 50) i")
        one.run("DELETE FROM person WHERE id <= 10")
        one.run("UPDATE person SET id = id + 5000 WHERE id BETWEEN 11 AND 20")
        if one.connection.server_version >= 150000:
            one.run("MERGE INTO person p USING (VALUES (21, 'x'), (9001, 'merged')) v(id, name) ON p.id = v.id "
                    "WHEN MATCHED THEN UPDATE SET team = 'matched' WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.name, NULL)")
        one.run("WITH gone AS (DELETE FROM child WHERE id > 40 RETURNING *) SELECT count(*) FROM gone")
        self.wait_equal([self.one, self.two], self.tables)

    def test_partitions_and_rows_that_move_between_them_arrive(self):
        self.one.run("INSERT INTO reading SELECT i, '2025-06-01', i FROM generate_series(1, 20) i")
        self.one.run("UPDATE reading SET day = '2026-06-01' WHERE id <= 5")
        self.wait_equal([self.one, self.two], self.tables)

    def test_truncate_arrives_and_later_rows_stay(self):
        self.one.run("INSERT INTO person SELECT i, 'p' || i FROM generate_series(1, 30) i")
        self.wait_equal([self.one, self.two], self.tables)
        self.one.run("TRUNCATE person CASCADE")
        self.one.run("INSERT INTO person VALUES (5, 'again', NULL)")
        self.wait_equal([self.one, self.two], self.tables)
        self.assertEqual([(5, "again", None)], self.two.run("SELECT * FROM person"))
