"""copy(): a consistent start while both sides go on writing; two different tables are never mixed unasked."""
import threading

from compare import differences
from harness import ClusterTest
from nodes import link, server_state, wait_linked

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, points INTEGER NOT NULL DEFAULT 0)"
ROWS = 20000


class Copy(ClusterTest):
    def pair(self, source_engine, target_engine):
        source, target = self.node(source_engine, "source", SCHEMA), self.node(target_engine, "target", SCHEMA)
        for first in range(1, ROWS, 500):
            source.run("INSERT INTO person (id, name) VALUES " + ", ".join(f"({id}, 'old {id}')" for id in range(first, first + 500)))
        for node in (source, target):
            node.call("add_table", "*")
        link(source, target)
        wait_linked([(source, target)])
        return source, target

    def check_while_both_write(self, source, target):
        done = threading.Event()
        errors = []

        def write(node, first):
            connection = node.connect()
            try:
                for step in range(400):
                    cursor = connection.cursor()
                    cursor.execute(f"INSERT INTO person (id, name) VALUES ({first + step}, 'new on {node.name}')")
                    cursor.execute(f"UPDATE person SET points = points + 1 WHERE id = {step * 37 % ROWS + 1}")
                    cursor.execute(f"DELETE FROM person WHERE id = {step * 41 % ROWS + 2}")
                    if done.is_set():
                        break
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=write, args=(node, first)) for node, first in ((source, 100000), (target, 200000))]
        for thread in threads:
            thread.start()
        source.call("copy", target.name)
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        self.wait_equal([source, target], timeout_s=90)
        self.assertGreater(target.one("SELECT count(*) FROM person"), ROWS)

    def test_postgresql_to_sqlite_while_both_write(self):
        self.check_while_both_write(*self.pair("postgresql", "sqlite"))

    def test_sqlite_to_postgresql_while_both_write(self):
        self.check_while_both_write(*self.pair("sqlite", "postgresql"))

    def test_pull_brings_the_other_servers_rows_here(self):
        source, target = self.pair("sqlite", "sqlite")
        target.call("copy", source.name, direction="pull")
        self.wait_equal([source, target])
        self.wait_for(lambda: server_state(target, "source")["progress"], lambda said: said == f"copied: {source.one('SELECT count(*) FROM person')} rows",
                      "status says what came of it")

    def test_a_copy_of_one_table_skips_no_changes_of_another(self):
        note = "; CREATE TABLE note (code TEXT PRIMARY KEY, body TEXT)"
        source, target = self.sqlite("source", SCHEMA + note), self.sqlite("target", SCHEMA + note)
        for first in range(1, ROWS, 500):
            source.run("INSERT INTO person (id, name) VALUES " + ", ".join(f"({id}, 'old {id}')" for id in range(first, first + 500)))
        self.join([source, target], [(source, target)])
        done = threading.Event()

        def write():
            connection = source.connect()
            for number in range(100000):
                connection.execute("INSERT INTO note VALUES (?, 'while the other table is copied')", (f"n{number}",))
                if number % 3 == 2:
                    connection.execute("DELETE FROM note WHERE code = ?", (f"n{number - 1}",))
                if done.is_set():
                    break
            connection.close()

        writer = threading.Thread(target=write)
        writer.start()
        self.wait_for(lambda: target.one("SELECT count(*) FROM note"), lambda count: count > 10, "notes arrive")
        source.call("copy", "target", table="person")
        self.wait_for(lambda: target.one("SELECT count(*) FROM person"), lambda count: count == ROWS, "the people are there")
        done.set()
        writer.join()
        self.wait_equal([source, target])

    def test_two_tables_that_differ_are_not_mixed_unless_told_how(self):
        source, target = self.node("postgresql", "source", SCHEMA), self.node("sqlite", "target", SCHEMA)
        source.run("INSERT INTO person (id, name) VALUES (1, 'Ada'), (2, 'Bo')")
        target.run("INSERT INTO person (id, name) VALUES (2, 'somebody else'), (3, 'Cy')")
        for node in (source, target):
            node.call("add_table", "*")
        link(source, target)
        wait_linked([(source, target)])
        said = ""
        try:
            source.call("copy", target.name)
            said = self.wait_for(lambda: str(source.view("status")), lambda text: "on_existing" in text, "status says why the copy was refused")
        except AssertionError:
            raise
        except Exception as error:
            said = str(error)
        self.assertIn("person", said)
        self.assertEqual([(2, "somebody else"), (3, "Cy")], target.run("SELECT id, name FROM person ORDER BY id"))
        self.assertNotEqual([], differences([source, target]))
        source.call("copy", target.name, on_existing="source")
        self.wait_equal([source, target])
        self.assertEqual("Bo", target.one("SELECT name FROM person WHERE id = 2"))
