"""Settings: what docs/settings.md lists is what both engines know, and a change holds without a restart."""
import re
import sqlite3

import places
import psycopg2
from harness import ClusterTest
from nodes import SECRET, link, server_state, wait_linked

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"
UNITS = {"kB": "kB", "MB": "MB", "s": "s", "ms": "ms", "": None}


def documented():
    """name -> (engine, default, range) of the first table of docs/settings.md"""
    rows = {}
    for line in (places.TOP / "docs/settings.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and re.fullmatch(r"`\w+`", cells[0]):
            rows[cells[0].strip("`")] = tuple(cells[1:4])
    return rows


class Settings(ClusterTest):
    def test_the_page_lists_what_postgresql_knows(self):
        node = self.postgres("node")
        known = {name: (unit, default, least, most) for name, unit, default, least, most in node.run(
            "SELECT substr(name, 9), unit, boot_val, min_val, max_val FROM pg_settings WHERE name LIKE 'rowmesh.%' ORDER BY 1")}
        page = {name: row for name, row in documented().items() if row[0] in ("both", "PostgreSQL")}
        self.assertEqual(sorted(known), sorted(page))
        for name, (unit, default, least, most) in known.items():
            _, said_default, said_range = page[name]
            number, _, said_unit = said_default.partition(" ")
            with self.subTest(name):
                self.assertEqual(default or "", number)
                self.assertEqual(unit, UNITS[said_unit])
                self.assertEqual(f"{least} to {most}" if least is not None else said_range, said_range)
        self.assertEqual([], node.run("SELECT name FROM pg_settings WHERE name LIKE 'rowmesh.%' AND (short_desc IS NULL OR short_desc = '')"))

    def test_the_page_lists_what_sqlite_knows(self):
        node = self.sqlite("node")
        with self.assertRaises(sqlite3.OperationalError) as refusal:
            node.ask("SELECT rowmesh_config('nonsense')")
        known = set(str(refusal.exception).split("there are: ")[1].split(", "))
        page = {name: row for name, row in documented().items() if row[0] in ("both", "SQLite")}
        self.assertEqual(known, set(page))
        for name, (_, default, range_) in page.items():
            with self.subTest(name):
                if name not in ("name", "listen"):
                    self.assertEqual(default.partition(" ")[0], node.ask("SELECT rowmesh_config(?)", name)[0][0])
                if " to " in range_:
                    most = int(range_.split(" to ")[1])
                    with self.assert_says(name, range_):
                        node.configure(name, most + 1)
                    node.configure(name, most)

    def test_wrong_values_are_refused_with_the_range(self):
        postgres, sqlite = self.postgres("postgres"), self.sqlite("sqlite")
        with self.assert_says("max_connections", "8 .. 10000"):
            postgres.configure("max_connections", 5)
        with self.assert_says("request_timeout"):
            postgres.configure("request_timeout", "5 bananas")
        for name, value in (("max_connections", "5"), ("request_timeout", "5 bananas"), ("enabled", "perhaps"), ("tls_ca_file", "ca.pem")):
            with self.assert_says(name):
                sqlite.configure(name, value)
        sqlite.configure("request_timeout", "2min")
        postgres.configure("request_timeout", "2min")

    def listening(self, node):
        return node.one("SELECT listening FROM rowmesh.node()")

    def test_alter_system_and_alter_database_hold_without_a_restart(self):
        """The database's own value wins; RESET brings the file's back; the worker stays the same process."""
        node = self.postgres("node", SCHEMA)
        worker = self.wait_for(node.worker_pids, bool, "a worker")
        own, other = places.free_port(), places.free_port()
        node.run(f"ALTER SYSTEM SET rowmesh.listen = '127.0.0.1:{other}'")
        node.configure("listen", f"127.0.0.1:{own}")
        self.wait_for(lambda: self.listening(node), lambda address: address == f"127.0.0.1:{own}", "the database's value holds")
        node.run("ALTER DATABASE app RESET rowmesh.listen")
        node.run("SELECT pg_reload_conf()")
        self.wait_for(lambda: self.listening(node), lambda address: address == f"127.0.0.1:{other}", "the file's value holds")
        node.run("ALTER SYSTEM RESET rowmesh.listen")
        node.run("SELECT pg_reload_conf()")
        self.wait_for(lambda: self.listening(node), lambda address: address == "", "it listens on nothing")
        self.assertEqual(worker, node.worker_pids())
        with self.assertRaises(psycopg2.Error):
            node.run("SET rowmesh.nonsense = 1")

    def test_pg_stat_activity_shows_the_worker(self):
        """What it does now or did last; and no transaction while it waits, or vacuum could not clean up."""
        left, right = self.postgres("left", SCHEMA), self.sqlite("right", SCHEMA)
        self.join([left, right], [(left, right)])
        right.run("INSERT INTO note VALUES (1, 'x')")
        self.wait_equal([left, right])
        rows = self.wait_for(lambda: left.run("SELECT pid, state, query, wait_event_type, xact_start, backend_xmin FROM pg_stat_activity WHERE backend_type = 'rowmesh worker'"),
                             lambda found: [row[1] for row in found] == ["idle"], "the worker is idle")
        _, _, query, wait, transaction, snapshot = rows[0]
        self.assertRegex(query, "^rowmesh: ")
        self.assertEqual(("Extension", None, None), (wait, transaction, snapshot))
        noise = [line for line in left.log_text().splitlines() if "rowmesh" in line and "listening" not in line and "worker" in line]
        self.assertEqual([], noise, "nothing went wrong, so nothing is said")

    def test_options_of_one_server_in_both_engines(self):
        nodes = self.postgres("left", SCHEMA), self.sqlite("right", SCHEMA)
        self.join(nodes, [nodes])
        for node, other in (nodes, nodes[::-1]):
            with self.subTest(node.engine):
                for wrong in (dict(batch_rows=-1), dict(timeout_ms=1), dict(compression="sometimes"), dict(schedule="at night"), dict(retention_hours=-5)):
                    with self.assert_says(next(iter(wrong))):
                        node.call("alter_server", other.name, **wrong)
                hour = int(node.one("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')::int") if node.engine == "postgresql" else node.one("SELECT strftime('%H', 'now')"))
                closed = f"{(hour + 3) % 24:02}:00-{(hour + 4) % 24:02}:00"
                node.call("alter_server", other.name, schedule=closed, compression="on", rate_limit=100000, batch_rows=10, timeout_ms=5000)
                node.run(f"INSERT INTO note VALUES ({node.port}, 'waits for its hour')")
                other.run(f"INSERT INTO note VALUES ({other.port}, 'comes at any time')")
                self.wait_for(lambda: node.one(f"SELECT count(*) FROM note WHERE id = {other.port}"), lambda rows: rows == 1, "the other's row came")
                self.wait_for(lambda: server_state(node, other.name)["queued"], lambda queued: queued == 1, "the row is queued")
                self.assertEqual(0, other.one(f"SELECT count(*) FROM note WHERE id = {node.port}"))
                node.call("alter_server", other.name, schedule="")
                self.wait_equal(list(nodes))
                node.run(f"DELETE FROM note WHERE id IN ({node.port}, {other.port})")
                self.wait_equal(list(nodes))

    def test_secrets_are_replaced_while_both_sides_write(self):
        left, right = self.postgres("left", SCHEMA), self.sqlite("right", SCHEMA)
        self.join([left, right], [(left, right)])
        for round, node, other in ((1, left, right), (2, right, left)):
            node.call("alter_server", other.name, secret="the new secret of both")
            for id in range(round * 100, round * 100 + 20):
                left.run(f"INSERT INTO note VALUES ({id}, 'left')")
                right.run(f"INSERT INTO note VALUES ({id + 1000}, 'right')")
            self.wait_equal([left, right])
        self.wait_for(lambda: left.run("SELECT old_secret FROM rowmesh.server") + right.run("SELECT old_secret FROM rowmesh_server"),
                      lambda old: old == [("",), ("",)], "the old secret is forgotten")
        wait_linked([(left, right)])

    def test_no_secret_in_a_dump_a_view_or_a_log(self):
        secret = "Sup3r-S3cret-0f-The-Test"
        left, right = self.postgres("left", SCHEMA, settings={"log_min_error_statement": "panic"}), self.sqlite("right", SCHEMA)
        for node in (left, right):
            node.call("add_table", "*")
        link(left, right, secret)
        wait_linked([(left, right)])
        left.call("alter_server", "right", secret=secret + "-2")
        with self.assert_says("direction"):
            left.call("add_server", "x" * 3000, "http://127.0.0.1:1", secret, direction="sideways")
        with self.assertRaises(psycopg2.Error) as refusal:
            left.call("add_server", "x" * 3000000, "http://127.0.0.1:1", secret)   # longer than an index takes
        self.assertNotIn(secret, str(refusal.exception))
        dump = self.pg_dump(left)
        self.assertIn("CREATE TABLE public.note", dump)
        self.assertNotIn(secret, dump)
        for view in ("status", "tables", "conflicts", "quarantine"):
            for node in (left, right):
                self.assertNotIn(secret, str(node.view(view)))
        for call in ("health", "node"):
            for node in (left, right):
                self.assertNotIn(secret, str(node.call(call)))
        self.assertNotIn(secret, str(right.call("debug")) + str(left.call("test_server", "right")) + str(right.call("test_server", "left")))
        self.assertNotIn(secret, left.log_text() + right.log_text())

    @staticmethod
    def pg_dump(node):
        import subprocess
        return subprocess.run([f"{node.server.bindir}/pg_dump", "-h", str(node.server.folder), "-p", str(node.server.port), "-U", "postgres", node.database],
                              check=True, capture_output=True, text=True, env=places.tidy_environment()).stdout
