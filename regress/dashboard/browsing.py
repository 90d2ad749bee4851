"""The dashboard in a real browser. regress/dashboard/dashboard.mjs is the person in front of it. Each engine has a module of its own
(test_browser_*.py), so that on a slow machine neither comes near the limit of a module."""
import json
import os
import pathlib
import shutil
import subprocess
import urllib.request

import places
from harness import ClusterTest
from nodes import SECRET

FOLDER = places.TOP / "regress" / "dashboard"
SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER)"
# What refuses a row can be mended without a change of the schema, which rowmesh would see and try again by itself.
REFUSES = {
    "postgresql": """CREATE FUNCTION grown_up(age integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT age >= 0';
                     CREATE TABLE person (id integer PRIMARY KEY, name text NOT NULL, age integer, CONSTRAINT grown_up CHECK (public.grown_up(age)))""",
    "sqlite": SCHEMA + """; CREATE TABLE rule (strict INTEGER); INSERT INTO rule VALUES (1);
              CREATE TRIGGER grown_up BEFORE INSERT ON person WHEN NEW.age < 0 AND (SELECT strict FROM rule)
              BEGIN SELECT RAISE(ABORT, 'grown_up: nobody is younger than nothing'); END""",
}
MENDS = {"postgresql": "CREATE OR REPLACE FUNCTION grown_up(age integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'",
         "sqlite": "UPDATE rule SET strict = 0"}
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


class BrowserTest(ClusterTest):
    def setUp(self):
        super().setUp()
        if missing():
            self.skipTest(f"no browser test: {missing()} is not here and could not be installed")

    def browse(self, engine):
        self.here, self.peer = self.node(engine, "here", REFUSES[engine]), self.sqlite("north", SCHEMA)
        for node in (self.here, self.peer):
            node.call("add_table", "person")
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
        self.wait_equal([self.here, self.peer], ["person"])

    def do_write_a_row_that_is_refused_here(self):
        self.peer.run("INSERT INTO person VALUES (500, 'Bo', -1)")

    def do_stop_the_peer(self):
        self.peer.stop()

    def do_start_the_peer(self):
        self.peer.start()

    def do_mend_the_reason(self):
        # What was asked for before is over: else that would take the row in, and nothing would be left to retry.
        table = "rowmesh.request" if self.here.engine == "postgresql" else "rowmesh_request"
        self.wait_for(lambda: self.here.one(f"SELECT count(*) FROM {table}"), lambda count: count == 0, "the first retry is carried out")
        self.here.run(MENDS[self.here.engine])

    def do_make_a_conflict(self):
        self.wait_equal([self.here, self.peer], ["person"])
        for node in (self.here, self.peer):
            node.call("disable")
        self.here.run("UPDATE person SET name = 'from here' WHERE id = 1")
        self.peer.run("UPDATE person SET name = 'from there' WHERE id = 1")
        for node in (self.here, self.peer):
            node.call("enable")
        self.wait_equal([self.here, self.peer], ["person"])

    def do_see_what_was_restored_on_the_peer(self):
        lost = self.here.view("conflicts")[0]["loser"]
        self.wait_equal([self.here, self.peer], ["person"])
        self.assertIn(self.peer.one("SELECT name FROM person WHERE id = 1"), str(lost))

    def do_make_another_database_here(self):
        """Another database of the same PostgreSQL server, or another file in the same folder."""
        schema = "CREATE TABLE second_only (id INTEGER PRIMARY KEY)"
        second = self.postgres("second", schema, server=self.here.server, database="second") if self.here.engine == "postgresql" else \
            self.sqlite("second", schema, beside=self.here)
        second.call("add_table", "*")
