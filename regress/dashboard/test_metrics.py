"""/metrics as Prometheus takes it: promtool finds nothing to complain of, a real Prometheus scrapes both engines, the alert rules load and fire."""
import json
import subprocess
import urllib.parse
import urllib.request

import places
from harness import ClusterTest
from http_client import Client
from monitoring_tools import tool

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER CHECK (age >= 0))"
LOOSE = SCHEMA.replace(" CHECK (age >= 0)", "")
DOCS = places.TOP / "docs" / "monitoring"


class Metrics(ClusterTest):
    def setUp(self):
        super().setUp()
        if not tool("promtool") or not tool("prometheus"):
            self.skipTest("Prometheus is not here: apt-get install prometheus, or let ./dev test fetch it")

    def run_promtool(self, *arguments, text=None):
        done = subprocess.run([tool("promtool"), *arguments], input=text, text=True, capture_output=True)
        self.assertEqual((0, ""), (done.returncode, done.stderr.replace("SUCCESS", "")), done.stdout)

    def start_prometheus(self, nodes):
        folder = places.new_folder("prometheus")
        port = places.free_port()
        config = folder / "prometheus.yml"
        targets = json.dumps([f"127.0.0.1:{node.port}" for node in nodes])
        config.write_text(f"global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nscrape_configs:\n  - job_name: rowmesh\n    static_configs:\n"
                          f"      - targets: {targets}\nrule_files: ['{DOCS / 'alerts.yml'}']\n")
        log = open(folder / "log", "w")
        process = subprocess.Popen([tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT)

        def stop():
            process.terminate()
            process.wait(20)
            log.close()
        self.addCleanup(stop)
        return f"http://127.0.0.1:{port}/api/v1/"

    def test_prometheus_scrapes_both_engines_and_an_alert_waits_to_fire(self):
        one, two = self.postgres("one", SCHEMA), self.sqlite("two", LOOSE)
        self.join([one, two], [(one, two)])
        two.run("INSERT INTO person VALUES (1, 'Ada', 30), (2, 'refused', -1)")
        self.wait_for(lambda: one.view("quarantine"), bool, "a row is in quarantine")
        for node in (one, two):
            text = Client(node).get("/metrics").body
            self.run_promtool("check", "metrics", text=text)
            for name in ("changes_captured_total", "server_queue_changes", "server_lag_seconds_bucket", "server_apply_seconds_sum", "server_retries_total",
                         "server_shipped_bytes_total", "server_batch_changes_count", "conflicts_total", "log_bytes", "server_oldest_unsent_seconds"):
                self.assertIn(f"\nrowmesh_{name}", text)
        self.run_promtool("check", "rules", str(DOCS / "alerts.yml"))
        base = self.start_prometheus([one, two])

        def query(what, **arguments):
            try:
                with urllib.request.urlopen(base + what + "?" + urllib.parse.urlencode(arguments), timeout=10) as answer:
                    return json.load(answer)["data"]
            except OSError:
                return None

        def values(expression):
            data = query("query", query=expression)
            return {result["metric"].get("instance"): float(result["value"][1]) for result in data["result"]} if data else {}
        both = {f"127.0.0.1:{node.port}" for node in (one, two)}
        self.wait_for(lambda: values('up{job="rowmesh"} == 1'), lambda found: set(found) == both, "both are up", 60)
        self.assertEqual({f"127.0.0.1:{one.port}": 1}, {name: value for name, value in values("rowmesh_quarantined_rows").items() if value})
        self.assertEqual(both, set(self.wait_for(lambda: values("rowmesh_server_up"), bool, "servers are seen")))
        pending = self.wait_for(lambda: query("alerts"), lambda found: found and any(a["labels"]["alertname"] == "RowmeshQuarantine" for a in found["alerts"]),
                                "the alert for the quarantine is pending")
        self.assertTrue(all(alert["labels"]["alertname"] == "RowmeshQuarantine" for alert in pending["alerts"]), pending)

    def test_every_expression_of_the_grafana_dashboard_parses(self):
        known = Client(self.sqlite("one", SCHEMA)).get
        text = self.wait_for(lambda: self.try_get(known), bool, "metrics are there")
        dashboard = json.loads((DOCS / "grafana.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        self.assertGreater(len(expressions), 10)
        rules = {"groups": [{"name": "g", "rules": [{"record": f"r:{i}", "expr": expression.replace("$__rate_interval", "1m").replace("$instance", ".*")}
                                                    for i, expression in enumerate(expressions)]}]}
        path = places.new_folder("rules") / "rules.yml"
        path.write_text(json.dumps(rules))
        self.run_promtool("check", "rules", str(path))
        for word in set(word.split("{")[0] for expression in expressions for word in expression.replace("(", " ").split() if word.startswith("rowmesh_")):
            self.assertIn(word.removesuffix("_bucket"), text, f"{word} is not a metric of ours")

    def try_get(self, get):
        try:
            answer = get("/metrics")
            return answer.body if answer.status == 200 else None
        except OSError:
            return None
