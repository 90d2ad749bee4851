"""Several processes, several ends of a process, forks: exactly one serves, none hangs, nothing is lost."""
import signal
import subprocess
import sys
import time
import unittest

from support import EXTENSION, SECRET, ExtensionTest, debug, free_port, serve, wait_for, wait_serving

STARTED = "db.execute(\"SELECT rowmesh_add_table('*')\"); db.execute('SELECT rowmesh_start()')\n"
ENDS = {
    "normally": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise RuntimeError('on purpose')",
    "os._exit": "os._exit(4)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)",
    "a busy daemon thread": "def write():\n    own = connect(sys.argv[1])\n    while True: own.execute(\"INSERT INTO item(name) VALUES ('x')\")\n"
                            "threading.Thread(target=write, daemon=True).start(); time.sleep(0.3)",
}


class Ends(ExtensionTest):
    def test_every_end(self):
        for name, text in ENDS.items():
            for delay in ("", "time.sleep(0.2)\n"):
                with self.subTest(name, delay=delay):
                    begin = time.monotonic()
                    code, output = self.finish(STARTED + delay + text)
                    self.assertNotIn(code, (-signal.SIGSEGV, -signal.SIGABRT), output)
                    self.assertLess(time.monotonic() - begin, 15)
        self.assertEqual("ok", self.plain().execute("PRAGMA integrity_check").fetchone()[0])

    def test_a_shell_that_comes_and_goes(self):
        self.finish(STARTED)
        for number in range(10):
            done = self.shell(f".load {EXTENSION}", f"INSERT INTO item(name) VALUES ('{number}')")
            self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_run_in_the_foreground_until_interrupted(self):
        port = free_port()
        self.finish(f"db.execute(\"SELECT rowmesh_config('listen', '127.0.0.1:{port}')\")")
        for number in (signal.SIGINT, signal.SIGTERM):
            program = self.program("db.execute('SELECT rowmesh_run()')")
            self.assertIn(str(port), program.stderr.readline())
            program.send_signal(number)
            program.communicate(timeout=20)
            self.assertNotEqual(-signal.SIGSEGV, program.returncode)


class Lease(ExtensionTest):
    def test_one_serves_and_the_other_takes_over(self):
        first = self.program(STARTED + "print('up', flush=True); time.sleep(60)")
        first.stdout.readline()
        connection = self.loaded()
        wait_for("the first serves", lambda: debug(connection).get("served_by") == first.pid)
        self.assertIn(str(first.pid), connection.execute("SELECT rowmesh_start()").fetchone()[0])
        time.sleep(1)
        self.assertEqual("standing by", debug(connection)["worker"])
        self.assertEqual(1, connection.execute("SELECT rowmesh_wait()").fetchone()[0])
        first.kill()
        begin = time.monotonic()
        wait_serving(connection)
        self.assertLess(time.monotonic() - begin, 3)

    def test_stop_reaches_another_process(self):
        first = self.program(STARTED + "print('up', flush=True); time.sleep(60)")
        first.stdout.readline()
        connection = self.loaded()
        wait_for("the first serves", lambda: debug(connection).get("served_by") == first.pid)
        connection.execute("SELECT rowmesh_stop()")
        wait_for("nobody serves", lambda: "served_by" not in debug(connection))


class Fork(ExtensionTest):
    def test_children_work_and_the_parent_goes_on(self):
        code, output = self.finish(STARTED + """
for _ in range(100):
    if not db.execute("SELECT json_extract(rowmesh_debug(), '$.worker')").fetchone()[0] == 'serving': time.sleep(0.05)
for number in range(60):
    db.execute("INSERT INTO item(name) VALUES ('parent')")
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        own = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
        own.execute("INSERT INTO item(name) VALUES ('child')")
        own.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, number
for _ in range(100):
    state = db.execute("SELECT json_extract(rowmesh_debug(), '$.worker')").fetchone()[0]
    if state == 'serving': break
    time.sleep(0.05)
print(state, db.execute("SELECT count(*) FROM item").fetchone()[0])
""", timeout_s=120)
        self.assertEqual((0, "serving 120"), (code, output.strip()))

    def test_a_child_does_not_keep_the_lease(self):
        first = self.program(STARTED + "time.sleep(1)\nif os.fork() == 0: time.sleep(15); os._exit(0)\nprint('up', flush=True); time.sleep(60)")
        first.stdout.readline()
        connection = self.loaded()
        first.kill()
        begin = time.monotonic()
        wait_serving(connection)
        self.assertLess(time.monotonic() - begin, 5)


class Applications(ExtensionTest):
    def setUp(self):
        super().setUp()
        self.other_file = self.new_file("other")
        self.one, self.two = self.loaded(), self.loaded(self.other_file)
        ports = {}
        for connection, name in ((self.one, "one"), (self.two, "two")):
            ports[name] = free_port()
            serve(connection, ports[name])
            wait_for("it listens", lambda: connection.execute("SELECT listening FROM rowmesh_node").fetchone()[0])
        self.one.execute("SELECT rowmesh_add_server('two', ?, ?)", (f"http://127.0.0.1:{ports['two']}", SECRET))
        self.two.execute("SELECT rowmesh_add_server('one', ?, ?)", (f"http://127.0.0.1:{ports['one']}", SECRET))

    def rows(self, connection):
        return connection.execute("SELECT id, name FROM item ORDER BY id").fetchall()

    def test_a_plain_shell_is_captured(self):
        done = self.shell(".timeout 5000", "INSERT INTO item VALUES (1, 'from the shell')")
        self.assertEqual(0, done.returncode, done.stderr)
        wait_for("the row is there", lambda: self.rows(self.two) == [(1, "from the shell")])
        self.assertEqual(1, self.one.execute("SELECT rowmesh_wait()").fetchone()[0])
        self.assertEqual(0, self.one.execute("SELECT rowmesh_queue_size()").fetchone()[0])

    def test_the_shell_serves_as_the_readme_says(self):
        """rowmesh_start() in the sqlite3 shell was refused as 'SQLite without threads': the shell runs with SQLITE_CONFIG_MULTITHREAD, where
        a connection has no mutex of its own. Now the mutexes themselves are looked at (registry.cpp, has_threads)."""
        third = self.new_file("third")
        port, two = free_port(), self.two.execute("SELECT listening FROM rowmesh_node").fetchone()[0]
        self.two.execute("SELECT rowmesh_add_server('third', ?, ?)", (f"http://127.0.0.1:{port}", SECRET))
        done = subprocess.run(["sqlite3", third], capture_output=True, text=True, timeout=60, input=f"""
.load {EXTENSION}
SELECT rowmesh_config('listen', '127.0.0.1:{port}');
SELECT rowmesh_add_table('*');
SELECT rowmesh_add_server('two', 'http://{two}', '{SECRET}');
SELECT rowmesh_start();
INSERT INTO item VALUES (7, 'from the shell');
SELECT 'arrived', rowmesh_wait('two', '{{"timeout_ms": 30000}}');
""")
        self.assertEqual("", done.stderr)
        self.assertIn("arrived|1", done.stdout)
        self.assertEqual([(7, "from the shell")], self.rows(self.two))

    def test_changes_and_last_insert_rowid(self):
        plain = self.plain()
        cursor = plain.execute("INSERT INTO item VALUES (41, 'a'), (42, 'b')")
        self.assertEqual((2, 42), (plain.execute("SELECT changes()").fetchone()[0], cursor.lastrowid))
        cursor = plain.execute("UPDATE item SET name = 'c' WHERE id IN (41, 42)")
        self.assertEqual((2, 42), (cursor.rowcount, plain.execute("SELECT last_insert_rowid()").fetchone()[0]))

    def test_both_ways_from_several_writers(self):
        for number in range(50):
            self.plain().execute("INSERT INTO item VALUES (?, 'one')", (2 * number,))
            self.plain(self.other_file).execute("INSERT INTO item VALUES (?, 'two')", (2 * number + 1,))
        wait_for("both have all", lambda: self.rows(self.one) == self.rows(self.two) and len(self.rows(self.one)) == 100)
        for connection in (self.one, self.two):
            self.assertEqual(1, connection.execute("SELECT rowmesh_wait('{\"timeout_ms\": 10000}')").fetchone()[0])
            self.assertEqual(0, connection.execute("SELECT rowmesh_queue_size()").fetchone()[0])

    def test_wait_gives_up_when_the_other_is_away(self):
        self.two.execute("SELECT rowmesh_stop()")
        self.one.execute("INSERT INTO item VALUES (1, 'waits')")
        self.assertEqual(0, self.one.execute("SELECT rowmesh_wait('{\"timeout_ms\": 300}')").fetchone()[0])
        self.two.execute("SELECT rowmesh_start()")
        self.assertEqual(1, self.one.execute("SELECT rowmesh_wait('{\"timeout_ms\": 20000}')").fetchone()[0])
        self.assertEqual([(1, "waits")], self.rows(self.two))

    def test_a_disabled_node_goes_on_capturing(self):
        self.one.execute("SELECT rowmesh_disable()")
        self.one.execute("INSERT INTO item VALUES (1, 'later')")
        time.sleep(0.3)
        self.assertEqual([], self.rows(self.two))
        self.one.execute("SELECT rowmesh_enable()")
        wait_for("the row is there", lambda: self.rows(self.two) == [(1, "later")])


class WithoutThreads(ExtensionTest):
    def test_a_program_that_switched_threads_off_is_told_so(self):
        program = subprocess.run([sys.executable, "-c", f"""
import ctypes, ctypes.util, sys
single_thread = 1
assert ctypes.CDLL(ctypes.util.find_library('sqlite3')).sqlite3_config(single_thread) == 0
import sqlite3
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.enable_load_extension(True)
db.load_extension({EXTENSION!r})
try:
    db.execute('SELECT rowmesh_start()')
except sqlite3.OperationalError as error:
    print(error)
""", self.file], capture_output=True, text=True, timeout=30)
        self.assertIn("without threads", program.stdout, program.stderr)
        self.assertIn("rowmesh_run()", program.stdout)


if __name__ == "__main__":
    unittest.main()
