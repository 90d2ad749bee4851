"""What the dashboard and programs do over HTTP, on running nodes of both engines: each action has the effect of the SQL function."""
import json
import unittest

from harness import ClusterTest
from http_client import Client
from nodes import SECRET

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER)"
REFUSES = SCHEMA[:-1] + ", CONSTRAINT grown_up CHECK (age >= 0))"


class Api:
    """The same for both engines."""
    engine = ""

    def setUp(self):
        super().setUp()
        self.here, self.there = self.node(self.engine, "here", REFUSES), self.sqlite("there", SCHEMA)
        for node in (self.here, self.there):
            node.call("add_table", "*")
        self.token = self.here.call("add_token", "robot", scope="admin")[0][0]
        self.wait_for(lambda: self.try_to_read(), lambda answer: answer and answer.status == 200, "the node answers")
        self.api = Client(self.here, self.token)

    def try_to_read(self):
        try:
            return Client(self.here, self.token).get("/api/v1/overview")
        except OSError:
            return None

    def done(self, answer):
        self.assertEqual(200, answer.status, answer.body)
        return answer.json

    def server(self):
        servers = self.done(self.api.get("/api/v1/servers"))["servers"]
        return servers[0] if servers else None

    def wait_state(self, state):
        return self.wait_for(self.server, lambda server: server and server["state"] == state, f"the server is {state}")

    def test_a_server_is_added_seen_tested_edited_switched_and_removed(self):
        self.there.call("add_server", "here", self.here.url, SECRET)
        self.done(self.api.post("/api/v1/servers", {"name": "there", "url": self.there.url, "secret": SECRET}))
        self.wait_state("streaming")
        self.assertNotIn(SECRET, self.api.get("/api/v1/servers").body + self.api.get("/api/v1/overview").body + self.api.get("/metrics").body)
        checks = self.done(self.api.post("/api/v1/servers/there/test"))["checks"]
        self.assertTrue(checks and all(check["ok"] for check in checks), checks)
        self.assertIn("table person", [check["check"] for check in checks])

        self.here.run("INSERT INTO person VALUES (1, 'Ada', 30)")
        self.wait_equal([self.here, self.there])
        self.wait_for(self.server, lambda server: server["rows_sent"] >= 1, "the row is counted")
        table = self.done(self.api.get("/api/v1/tables"))["tables"][0]
        self.assertEqual((1, True, {"there": ""}), (table["rows"], table["rows_exact"], table["fits"]))

        self.done(self.api.ask("PATCH", "/api/v1/servers/there", {"direction": "push"}))
        self.wait_for(self.server, lambda server: server["direction"] == "push", "the direction changed")
        self.done(self.api.post("/api/v1/servers/there/disable"))
        self.wait_state("disabled")
        self.done(self.api.post("/api/v1/servers/there/enable"))
        self.wait_state("streaming")
        self.done(self.api.post("/api/v1/disable"))
        self.wait_state("disabled")
        self.done(self.api.post("/api/v1/enable"))
        self.wait_state("streaming")
        self.done(self.api.ask("DELETE", "/api/v1/servers/there"))
        self.wait_for(self.server, lambda server: server is None, "the server is gone")
        self.assertEqual([], self.here.view("status"))

    def test_wrong_use_gets_the_sentence_of_the_sql_function(self):
        answer = self.api.post("/api/v1/servers", {"name": "there", "url": "no address", "secret": SECRET})
        self.assertEqual(400, answer.status)
        self.assertIn("http://", answer.json["text"])
        answer = self.api.post("/api/v1/servers", {"name": "there", "url": self.there.url, "secret": SECRET, "wings": 2})
        self.assertEqual(400, answer.status)
        self.assertIn("wings", answer.json["text"])
        self.assertIn("nobody", self.api.ask("DELETE", "/api/v1/servers/nobody").json["text"])
        self.assertEqual([], self.here.view("status"))
        # Whatever a name is made of, it stays a name.
        hostile = "x'); DROP TABLE person; -- \"<b>"
        self.done(self.api.post("/api/v1/servers", {"name": hostile, "url": None, "secret": SECRET}))
        self.assertEqual(hostile, self.server()["name"])
        self.assertEqual(0, self.here.one("SELECT count(*) FROM person"))

    def test_a_refused_row_is_listed_with_reason_and_payload_retried_and_discarded(self):
        self.join([self.here, self.there], [(self.here, self.there)])
        self.there.run("INSERT INTO person VALUES (1, 'Ada', -1), (2, 'Bo', -2), (3, 'Cy', 3)")
        listed = self.wait_for(lambda: self.done(self.api.get("/api/v1/quarantine"))["quarantine"], lambda rows: len(rows) == 2, "both are listed")
        entry = next(row for row in listed if row["payload"]["name"] == "Ada")
        self.assertRegex(entry["reason"].lower(), "check|constraint")
        self.assertEqual(-1, entry["payload"]["age"])
        self.assertEqual(1, len(self.done(self.api.get("/api/v1/quarantine?limit=1"))["quarantine"]))
        health = self.wait_for(lambda: self.api.get("/health"), lambda answer: answer.json["status"] == "degraded", "health says so")
        self.assertEqual(200, health.status)
        self.done(self.api.post(f"/api/v1/quarantine/{entry['id']}/discard"))
        self.wait_for(lambda: self.there.one("SELECT count(*) FROM person WHERE id = 1"), lambda count: count == 0, "the discarded row is gone there, too")
        self.there.run("UPDATE person SET age = 2 WHERE id = 2")
        self.done(self.api.post("/api/v1/quarantine/retry"))
        self.wait_equal([self.here, self.there])
        self.assertEqual([], self.done(self.api.get("/api/v1/quarantine"))["quarantine"])

    def test_conflicts_are_listed_with_both_images(self):
        self.join([self.here, self.there], [(self.here, self.there)])
        self.there.run("INSERT INTO person VALUES (1, 'Ada', 30)")
        self.here.run("INSERT INTO person VALUES (2, 'Bo', 40)")
        self.wait_equal([self.here, self.there])
        for node in (self.here, self.there):
            node.call("disable")
        self.here.run("UPDATE person SET name = 'from here' WHERE id = 2")
        self.there.run("UPDATE person SET name = 'from there' WHERE id = 2")
        for node in (self.here, self.there):
            node.call("enable")
        self.wait_equal([self.here, self.there])
        conflict = self.wait_for(lambda: self.done(self.api.get("/api/v1/conflicts"))["conflicts"], bool, "the conflict is listed")[0]
        self.assertEqual({"from here", "from there"}, {conflict["winner"]["name"], conflict["loser"]["name"]})
        self.assertTrue(conflict["restorable"])
        self.done(self.api.post(f"/api/v1/conflicts/{conflict['id']}/restore"))
        read = lambda: self.done(self.api.get("/api/v1/conflicts"))["conflicts"][-1]["restored"]
        self.wait_for(read, lambda text: text.startswith("restored; it replaced"), "what came of it is shown")
        self.wait_equal([self.here, self.there])
        self.assertEqual(conflict["loser"]["name"], self.there.one("SELECT name FROM person WHERE id = 2"))
        self.assertIn("there is no conflict", self.api.post("/api/v1/conflicts/4711/restore").json["text"])

    def test_a_copy_is_started(self):
        self.there.run("DELETE FROM person")
        self.here.call("remove_table", "person")
        self.here.run("INSERT INTO person VALUES (1, 'Ada', 30), (2, 'Bo', 40)")
        self.done(self.api.post("/api/v1/tables", {"table": "person"}))
        self.there.call("add_server", "here", self.here.url, SECRET)
        self.done(self.api.post("/api/v1/servers", {"name": "there", "url": self.there.url, "secret": SECRET}))
        self.wait_state("streaming")
        self.done(self.api.post("/api/v1/servers/there/copy", {"direction": "push"}))
        self.wait_equal([self.here, self.there])
        self.assertEqual(2, self.there.one("SELECT count(*) FROM person"))

    def test_health_is_the_same_in_sql_and_over_http(self):
        self.there.call("add_server", "here", self.here.url, SECRET)
        self.done(self.api.post("/api/v1/servers", {"name": "there", "url": self.there.url, "secret": SECRET}))
        self.wait_state("streaming")

        def of_sql():
            value = self.here.call("health")[0][0]
            return json.loads(value) if isinstance(value, str) else value

        def checks(health):
            return {check["check"]: check["status"] for check in health["checks"]}
        both = self.wait_for(lambda: (checks(of_sql()), checks(self.api.get("/health").json)), lambda pair: pair[0] == pair[1], "both say the same")
        self.assertEqual({"database", "worker", "queue", "quarantine", "clock", "disk", "server there"}, set(both[0]))
        # A threshold is a setting.
        self.here.configure("health_disk_mb", 2000000000)
        self.wait_for(lambda: self.api.get("/health"), lambda answer: answer.status == 503 and checks(answer.json)["disk"] == "failing", "the disk is too small now")
        self.assertEqual("failing", of_sql()["status"])

    def test_a_browser_logs_in_once_a_password_is_set(self):
        browser = Client(self.here)
        self.assertEqual(403, browser.log_in("anything").status)
        with self.assert_says("letters"):
            self.here.call("set_dashboard_password", "short")
        self.here.call("set_dashboard_password", "a good long password")
        self.wait_for(lambda: browser.get("/api/v1/session").json["password_set"], bool, "the password is known")
        self.assertEqual(401, browser.log_in("another").status)
        self.assertEqual(200, browser.log_in("a good long password").status)
        self.assertEqual(200, browser.get("/api/v1/overview").status)
        self.assertEqual(200, browser.post("/api/v1/disable").status)
        del browser.headers["x-rowmesh-csrf"]
        self.assertEqual(403, browser.post("/api/v1/enable").status)
        self.here.call("remove_token", "robot")
        self.wait_for(lambda: self.api.get("/api/v1/overview").status, lambda status: status == 401, "the removed token is of no use")


class ApiOnPostgres(Api, ClusterTest):
    engine = "postgresql"


class ApiOnSqlite(Api, ClusterTest):
    engine = "sqlite"


class OneDashboardForAMachine(ClusterTest):
    """Several databases of one machine: each dashboard lists the others and hands requests on to them."""

    def both_ways(self, one, two):
        token = one.call("add_token", "robot", scope="admin")[0][0]
        api = Client(one, token)

        def names():
            try:
                return {node["name"]: node for node in api.get("/api/v1/nodes").json.get("nodes", [])}
            except OSError:
                return {}
        nodes = self.wait_for(names, lambda found: len(found) == 2 and all(node["address"] for node in found.values()), "both are listed")
        other = next(node for node in nodes.values() if not node["here"])
        overview = api.get(f"/api/v1/nodes/{other['node']}/overview")
        self.assertEqual((200, other["name"]), (overview.status, overview.json["node"]["name"]), overview.body)
        self.assertEqual(200, api.post(f"/api/v1/nodes/{other['node']}/servers", {"name": "elsewhere", "url": None, "secret": SECRET}).status)
        self.assertEqual(["elsewhere"], [row["server"] for row in two.view("status")])
        self.assertEqual(401, Client(one).get(f"/api/v1/nodes/{other['node']}/overview").status)
        self.assertEqual(404, api.get("/api/v1/nodes/00000000-0000-0000-0000-000000000000/overview").status)

    def test_two_databases_of_one_postgresql_server(self):
        one = self.postgres("one", SCHEMA)
        two = self.postgres("two", SCHEMA, server=one.server, database="app2")
        self.both_ways(one, two)

    def test_two_files_in_one_folder(self):
        one = self.sqlite("one", SCHEMA)
        two = self.sqlite("two", SCHEMA, beside=one)
        self.both_ways(one, two)


if __name__ == "__main__":
    unittest.main()
