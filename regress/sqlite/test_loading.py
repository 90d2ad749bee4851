"""What loading does, and what it does not do."""
import hashlib
import pathlib
import shutil
import sqlite3
import unittest

from support import EXTENSION, SECRET, ExtensionTest, debug, free_port, serve, wait_for, wait_serving


class Loading(ExtensionTest):
    def digest(self):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.folder.iterdir() if not path.name.endswith("-shm")}

    def test_it_writes_nothing_and_starts_nothing(self):
        before = self.digest()
        connection = self.loaded()
        self.assertEqual([], connection.execute("SELECT * FROM rowmesh_status").fetchall())
        self.assertEqual("none", debug(connection)["worker"])
        connection.close()
        self.assertEqual(before, self.digest())

    def test_fifty_times(self):
        for _ in range(50):
            self.loaded().close()
        connection = self.loaded()
        serve(connection, free_port())
        wait_serving(connection)
        for _ in range(50):
            other = self.loaded()
            self.assertEqual("serving", debug(other)["worker"])
            other.close()
        threads = [pathlib.Path(task / "comm").read_text().strip() for task in pathlib.Path("/proc/self/task").iterdir()]
        self.assertEqual(1, threads.count("rowmesh"))

    def test_both_entry_points(self):
        renamed = self.folder / "another-name.so"
        shutil.copy(EXTENSION + ("" if EXTENSION.endswith(".so") else ".so"), renamed)
        code, output = self.finish(
            "plain = sqlite3.connect(sys.argv[1]); plain.enable_load_extension(True); plain.load_extension(sys.argv[2])\n"
            "print(plain.execute('SELECT rowmesh_version()').fetchone()[0])", str(renamed))
        self.assertEqual(0, code, output)

    def test_it_starts_by_itself_once_started(self):
        self.finish("db.execute(\"SELECT rowmesh_add_table('*')\"); db.execute('SELECT rowmesh_start()')")
        connection = self.loaded()
        wait_serving(connection)
        connection.execute("SELECT rowmesh_stop()")
        self.assertEqual("none", debug(connection)["worker"])
        self.assertEqual("none", debug(self.loaded())["worker"])

    def test_right_after_start_nobody_is_told_to_start(self):
        connection = self.loaded()
        connection.execute("SELECT rowmesh_add_server('north', NULL, ?)", (SECRET,))
        self.assertIn("rowmesh_start()", connection.execute("SELECT last_error FROM rowmesh_status").fetchone()[0])
        connection.execute("SELECT rowmesh_start()")
        self.assertIsNone(connection.execute("SELECT last_error FROM rowmesh_status").fetchone()[0])
        self.assertNotIn("rowmesh_start()", connection.execute("SELECT rowmesh_health()").fetchone()[0])
        connection.execute("SELECT rowmesh_stop()")
        self.assertIn("rowmesh_start()", connection.execute("SELECT last_error FROM rowmesh_status").fetchone()[0])

    def test_start_in_a_transaction_that_is_rolled_back(self):
        connection = self.loaded()
        connection.execute("BEGIN")
        connection.execute("SELECT rowmesh_add_table('item')")
        connection.execute("SELECT rowmesh_start()")
        connection.execute("ROLLBACK")
        self.assertEqual(0, connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'rowmesh%'").fetchone()[0])
        connection.execute("BEGIN")
        connection.execute("SELECT rowmesh_add_table('item')")
        connection.execute("SELECT rowmesh_start()")
        connection.execute("COMMIT")
        wait_serving(connection)

    def test_functions_are_refused_in_triggers(self):
        connection = self.loaded()
        connection.execute("CREATE TRIGGER hostile AFTER INSERT ON item BEGIN SELECT rowmesh_add_table('item'); END")
        with self.assert_says("unsafe use"):
            connection.execute("INSERT INTO item VALUES (1, 'x')")

    def test_a_default_may_use_ids(self):
        connection = self.loaded()
        connection.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY DEFAULT (rowmesh_id()), name TEXT)")
        ids = [connection.execute("SELECT rowmesh_id()").fetchone()[0] for _ in range(5000)]
        self.assertEqual(sorted(set(ids)), ids)
        self.assertGreater(ids[0], 0)


class Sentences(ExtensionTest):
    def test_databases_that_cannot_be_served(self):
        memory = self.loaded(":memory:")
        memory.execute("CREATE TABLE item (id INTEGER PRIMARY KEY)")
        with self.assert_says("no file"):
            memory.execute("SELECT rowmesh_add_table('item')")
        with self.assert_says("no file"):
            memory.execute("SELECT rowmesh_start()")
        reader = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)
        self.addCleanup(reader.close)
        reader.enable_load_extension(True)
        reader.load_extension(EXTENSION)
        with self.assert_says("read-only"):
            reader.execute("SELECT rowmesh_start()")

    def test_wrong_arguments(self):
        connection = self.loaded()
        connection.execute("SELECT rowmesh_add_table('item')")
        calls = {
            "rowmesh_add_table('nowhere')": "nowhere",
            "rowmesh_add_table('item', '{\"colour\": 1}')": "colour",
            "rowmesh_add_table('item', 'merge')": "JSON",
            "rowmesh_add_server('a', 'ftp://x:1', 'secret')": "http",
            "rowmesh_add_server('a', 'http://x:1/path?a=1', 'secret')": "path",
            "rowmesh_add_server('a', 'http://x:99999', 'secret')": "port",
            "rowmesh_add_server('a', 'http://x:1', '')": "secret",
            "rowmesh_add_server('', 'http://x:1', 'secret')": "name",
            "rowmesh_add_server('a', 'http://x:1', 's', '{\"direction\": \"up\"}')": "push",
            "rowmesh_alter_server('mars', '{}')": "mars",
            "rowmesh_copy('mars')": "mars",
            "rowmesh_test_server('mars')": "mars",
            "rowmesh_discard(7)": "quarantine",
            "rowmesh_retry('x')": "number",
            "rowmesh_config('colour', 'red')": "listen",
            "rowmesh_config('listen', 'nonsense')": "nonsense",
            "rowmesh_config('listen', '0.0.0.0:21349')": "secret",
            "rowmesh_config('datetime_fraction', 'never')": "nonzero",
            "rowmesh_wait()": "rowmesh_start",
        }
        for call, word in calls.items():
            with self.subTest(call), self.assert_says(word):
                connection.execute("SELECT " + call)

    def test_wait_inside_of_a_transaction(self):
        connection = self.loaded()
        serve(connection, free_port())
        connection.execute("BEGIN")
        with self.assert_says("commit"):
            connection.execute("SELECT rowmesh_wait()")
        connection.execute("ROLLBACK")

    def test_secrets_are_not_shown(self):
        connection = self.loaded()
        connection.execute("SELECT rowmesh_add_server('a', 'http://127.0.0.1:21349', ?)", (SECRET,))
        for what in ("* FROM rowmesh_status", "rowmesh_health()", "rowmesh_debug()", "rowmesh_node()"):
            self.assertNotIn(SECRET, str(connection.execute("SELECT " + what).fetchall()))

    def test_a_port_that_is_taken(self):
        connection, other = self.loaded(), self.loaded(self.new_file("other"))
        port = free_port()
        serve(connection, port)
        wait_for("the first listens", lambda: connection.execute("SELECT listening FROM rowmesh_node").fetchone()[0])
        serve(other, port)
        said = wait_for("the second says why", lambda: debug(other).get("problem"))
        self.assertIn(str(port), said)


if __name__ == "__main__":
    unittest.main()
