"""The dashboard in a real browser, on nodes of both engines. regress/dashboard/dashboard.mjs is the person in front of it."""
import json
import os
import pathlib
import shutil
import subprocess

import places
from harness import ClusterTest
from nodes import SECRET

FOLDER = places.TOP / "regress" / "dashboard"
SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER)"
REFUSES = SCHEMA[:-1] + ", CONSTRAINT grown_up CHECK (age >= 0))"
PASSWORD = "a good long password"


def missing():
    """What the test needs and does not find; None: all is there."""
    if not shutil.which("node"):
        return "node (Debian: nodejs)"
    if not pathlib.Path(os.environ.get("ROWMESH_CHROMIUM", "/usr/bin/chromium")).exists():
        return "/usr/bin/chromium (Debian: chromium)"
    if not (places.BUILD / "tools" / "dashboard" / "node_modules" / "playwright-core").exists():
        return "playwright-core (npm; ./dev test dashboard fetches it)"
    return None


class Dashboard(ClusterTest):
    def setUp(self):
        super().setUp()
        if missing():
            self.skipTest(f"no browser test: {missing()} is not here and could not be installed")

    def browse(self, engine):
        self.here, self.peer = self.node(engine, "here", REFUSES), self.sqlite("north", SCHEMA)
        for node in (self.here, self.peer):
            node.call("add_table", "*")
        self.peer.call("add_server", "here", self.here.url, SECRET)
        pictures = places.BUILD / "test-logs" / "dashboard" / engine
        order = {"folder": str(pictures), "url": self.here.url, "password": PASSWORD, "peer": {"name": "north", "url": self.peer.url, "secret": SECRET}}
        self.wait_for(self.page_is_there, bool, "the page is there")
        process = subprocess.Popen(["node", str(FOLDER / "dashboard.mjs"), json.dumps(order)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env={**os.environ, "ROWMESH_BUILD": str(places.BUILD)})
        self.addCleanup(process.kill)
        complaints = None
        for line in process.stdout:
            said = json.loads(line)
            if "step" in said:
                print("   ", said["step"], flush=True)
            if "please" in said:
                getattr(self, "do_" + said["please"].replace(" ", "_"))()
                process.stdin.write("{}\n")
                process.stdin.flush()
            complaints = said.get("complaints", complaints)
        process.stdin.close()
        self.assertEqual((0, []), (process.wait(20), complaints), f"pictures are in {pictures}")

    def page_is_there(self):
        import urllib.request
        try:
            with urllib.request.urlopen(self.here.url + "/dashboard", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    # ---- what the person asks for
    def do_set_the_password(self):
        self.here.call("set_dashboard_password", PASSWORD)

    def do_write_a_row_on_the_peer(self):
        self.peer.run("INSERT INTO person VALUES (1, 'Ada', 30)")

    def do_write_some_on_both_sides(self):
        for id in range(10, 200):
            (self.here if id % 2 else self.peer).run(f"INSERT INTO person VALUES ({id}, 'person {id}', {id})")
        self.wait_equal([self.here, self.peer])

    def do_write_a_row_that_is_refused_here(self):
        self.peer.run("INSERT INTO person VALUES (500, 'Bo', -1)")

    def do_stop_the_peer(self):
        self.peer.stop()

    def do_start_the_peer(self):
        self.peer.start()

    def do_drop_the_constraint(self):
        if self.here.engine == "postgresql":
            self.here.run("ALTER TABLE person DROP CONSTRAINT grown_up")
        else:   # SQLite cannot drop one: the sender mends the row
            self.peer.run("UPDATE person SET age = 1 WHERE id = 500")

    def do_make_a_conflict(self):
        self.wait_equal([self.here, self.peer])
        for node in (self.here, self.peer):
            node.call("disable")
        self.here.run("UPDATE person SET name = 'from here' WHERE id = 1")
        self.peer.run("UPDATE person SET name = 'from there' WHERE id = 1")
        for node in (self.here, self.peer):
            node.call("enable")
        self.wait_equal([self.here, self.peer])

    def test_a_person_with_a_browser_at_postgresql(self):
        self.browse("postgresql")

    def test_a_person_with_a_browser_at_sqlite(self):
        self.browse("sqlite")
