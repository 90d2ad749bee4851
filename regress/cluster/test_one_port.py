"""Several databases of one machine on one port: each has a path behind it, the first that can bind it is the door, and hands on the rest."""
import contextlib
import http.client
import json
import os
import signal
import urllib.error
import urllib.request

from certificates import Authority
from harness import ClusterTest
from nodes import SECRET
from places import free_port
from requester import Requester, sign
from test_tls import client_context, use
from waiting import NotYet, wait_until

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"


class OnePort(ClusterTest):
    def pair(self, engine):
        """Two databases on one port. -> (first, second)"""
        port = free_port()
        nodes = []
        for name in ("sales", "stock"):
            if engine == "postgresql":
                node = self.postgres(name, SCHEMA, database=name, **({"server": nodes[0].server} if nodes else {}))
            else:
                node = self.sqlite(name, SCHEMA, **({"beside": nodes[0]} if nodes else {}))
                node.configure("name", name)
            node.port, node.url = port, f"http://127.0.0.1:{port}/{name}"
            node.configure("listen", f"127.0.0.1:{port}/{name}")
            self.wait_for(lambda: self.listening(node), lambda at: at == f"127.0.0.1:{port}/{name}", f"{name} listens")
            nodes.append(node)
        for node in nodes:
            self.wait_for(lambda: self.pinged(node), bool, f"{node.name} answers through the port")
        return nodes

    def listening(self, node):
        return node.one("SELECT listening FROM rowmesh.node()") if node.engine == "postgresql" else node.view("node")[0]["listening"]

    def fetch(self, url):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def pinged(self, node):
        status, text = self.fetch(node.url + "/rowmesh/v1/ping")
        return json.loads(text)["node"] if status == 200 else None

    def third(self, engine, others):
        """A node elsewhere that replicates with each of the pair, which do not know each other."""
        node = self.node(engine, "third", SCHEMA)
        self.join([node, *others], [(node, other) for other in others])
        return node

    def is_door(self, node):
        status, health = self.fetch(f"http://127.0.0.1:{node.port}/health")
        return status != 0 and self.pinged(node) is not None and json.loads(health).get("node") == node.name

    def both_replicate_with_a_third(self, engine, other_engine):
        sales, stock = self.pair(engine)
        self.assertNotEqual(self.pinged(sales), self.pinged(stock))
        third = self.third(other_engine, [sales, stock])
        for id, node in enumerate((sales, stock, third)):
            node.run(f"INSERT INTO note VALUES ({id}, 'from {node.name}')")
        self.wait_equal([sales, stock, third])
        self.assert_quiet([sales, stock, third])
        return sales, stock, third

    def test_postgresql_databases_replicate_through_one_port(self):
        self.both_replicate_with_a_third("postgresql", "sqlite")

    def test_sqlite_files_replicate_through_one_port(self):
        self.both_replicate_with_a_third("sqlite", "postgresql")

    # ---- what the port answers
    def everything_is_below_the_path(self, engine):
        sales, stock = self.pair(engine)
        root = f"http://127.0.0.1:{sales.port}"
        for node in (sales, stock):
            self.assertEqual(200, self.fetch(node.url + "/dashboard")[0])
            status, health = self.fetch(node.url + "/health")
            self.assertEqual((200, node.name), (status, json.loads(health)["node"]))
            self.assertIn("rowmesh_info", self.fetch(node.url + "/metrics")[1])
            self.assertEqual(401, self.fetch(node.url + "/api/v1/overview")[0])
            self.assertEqual(200, self.fetch(node.url)[0], "the address alone leads to the dashboard")
        self.assertEqual(200, self.fetch(root + "/dashboard")[0])
        self.assertEqual("sales", json.loads(self.fetch(root + "/health")[1])["node"], "the plain root is the door's")
        self.assertEqual(404, self.fetch(root + "/rowmesh/v1/ping")[0])
        self.assertEqual(503, self.fetch(root + "/shop/health")[0])
        for node in (sales, stock):
            answer = node.call("add_token", "test", "admin") if engine == "postgresql" else node.call("add_token", "test", scope="admin")
            for place in (node.url, root) if node is sales else (node.url,):
                request = urllib.request.Request(place + "/api/v1/nodes", headers={"authorization": f"Bearer {answer[0][0]}"})
                listed = json.loads(urllib.request.urlopen(request, timeout=10).read())["nodes"]
                self.assertEqual({"sales": f"127.0.0.1:{node.port}/sales", "stock": f"127.0.0.1:{node.port}/stock"},
                                 {one["name"]: one["address"] for one in listed})
                beyond = next(one for one in listed if not one["here"])
                request.full_url = f"{place}/api/v1/nodes/{beyond['node']}/overview"
                self.assertEqual(beyond["name"], json.loads(urllib.request.urlopen(request, timeout=10).read())["node"]["name"])

    def test_everything_is_below_the_path_in_postgresql(self):
        self.everything_is_below_the_path("postgresql")

    def test_everything_is_below_the_path_in_sqlite(self):
        self.everything_is_below_the_path("sqlite")

    def test_the_door_proves_nothing_for_anybody(self):
        """Signatures are the inner database's affair; a body that nobody signed for is not even taken."""
        _, stock = self.pair("sqlite")
        stock.call("add_table", "*")
        stock.call("add_server", "north", None, SECRET)
        requester = Requester(stock, SECRET)

        def ask(secret, **how):
            path, body = "/rowmesh/v1/changes", b"x" * 5_000_000
            connection = http.client.HTTPConnection("127.0.0.1", stock.port, timeout=30)
            headers = sign("POST", path, "", body, secret, **how) | {"content-length": str(len(body))}
            with contextlib.closing(connection):
                connection.putrequest("POST", "/stock" + path)
                for name, value in headers.items():
                    connection.putheader(name, value)
                connection.endheaders()   # and no body: the answer comes all the same
                return connection.getresponse().status

        self.assertEqual(401, ask("quite another secret, also long"))
        status, _ = requester.ask("GET", "/stock/rowmesh/v1/hello", "origin=00000000000000aa", headers={})
        self.assertEqual(401, status)
        headers = sign("GET", "/rowmesh/v1/hello", "origin=00000000000000aa", b"", SECRET)   # the path that the inner one sees
        asked = [requester.ask("GET", "/stock/rowmesh/v1/hello", "origin=00000000000000aa", headers=headers)[0] for _ in range(2)]
        self.assertEqual([200, 401], asked, "once, and not again")

    def test_a_long_body_goes_through(self):
        sales, stock = self.pair("sqlite")
        third = self.third("sqlite", [sales, stock])
        third.run("INSERT INTO note SELECT value, hex(randomblob(500)) FROM (WITH RECURSIVE n(value) AS "
                  "(SELECT 10 UNION ALL SELECT value + 1 FROM n WHERE value < 40000) SELECT value FROM n)")
        self.wait_equal([sales, stock, third], timeout_s=120)
        stock.run("UPDATE note SET text = 'x' || text WHERE id % 2 = 0")
        self.wait_equal([sales, stock, third], timeout_s=120)

    def test_tls_ends_at_the_door_and_certificates_count_behind_it(self):
        authority = Authority()
        sales, stock = self.pair("sqlite")
        third = self.sqlite("third", SCHEMA)
        for node in (sales, stock, third):
            use(node, authority, authority.issue(node.name))
        for node in (sales, stock):
            node.url += f"/{node.name}"
        pairs = [(third, sales), (third, stock)]
        self.join([third, sales, stock], pairs)
        for id, node in enumerate((sales, stock, third)):
            node.run(f"INSERT INTO note VALUES ({id}, 'from {node.name}')")
        self.wait_equal([sales, stock, third])
        for path in ("/sales", "/stock"):
            for files, status, word in ((None, 403, b"certificate"), (authority.issue("known"), 401, b"sign")):
                connection = http.client.HTTPSConnection("localhost", sales.port, context=client_context(authority, files), timeout=10)
                with contextlib.closing(connection):
                    connection.request("GET", path + "/rowmesh/v1/hello")
                    answer = connection.getresponse()
                    self.assertEqual(status, answer.status, path)
                    self.assertIn(word, answer.read())
        # A database that wants TLS takes nothing through a door without.
        for name in ("tls_cert_file", "tls_key_file", "tls_ca_file"):
            sales.configure(name, "")
        self.wait_for(lambda: self.fetch(f"http://127.0.0.1:{sales.port}/stock/health"),
                      lambda answer: answer[0] == 403 and "tls_cert_file" in answer[1], "it says what is missing")

    # ---- the door goes away
    def test_the_program_with_the_door_is_killed_and_another_takes_over(self):
        sales, stock, third = self.both_replicate_with_a_third("sqlite", "sqlite")
        sales.kill()
        self.wait_for(lambda: self.is_door(stock), bool, "stock has the port")
        third.run("INSERT INTO note VALUES (10, 'while sales is away')")
        self.wait_equal([stock, third])
        sales.start()
        self.wait_for(lambda: self.pinged(sales), bool, "sales is back, behind stock")
        self.assertTrue(self.is_door(stock))
        sales.run("INSERT INTO note VALUES (11, 'back again')")
        self.wait_equal([sales, stock, third])

    def test_a_postgresql_worker_with_the_door_ends_and_another_takes_over(self):
        sales, stock, third = self.both_replicate_with_a_third("postgresql", "postgresql")
        sales.kill_worker()   # PostgreSQL starts all of its processes anew
        sales.wait_ready()
        stock.disconnect()
        for node in (sales, stock):
            self.wait_for(lambda: self.pinged(node), bool, f"{node.name} answers again")
        third.run("INSERT INTO note VALUES (10, 'after the crash')")
        self.wait_equal([sales, stock, third])
        door, inner = (sales, stock) if self.is_door(sales) else (stock, sales)
        # The worker alone. It is started anew within a second, and may be the first at the port again.
        for _ in range(10):
            for pid in door.worker_pids():
                os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(NotYet):
                wait_until(lambda: self.is_door(inner), bool, "the other has the port", timeout_s=3)
                break
        self.assertTrue(self.is_door(inner), "the other never got the port")
        door.run("INSERT INTO note VALUES (11, 'behind the other now')")
        self.wait_equal([sales, stock, third])

    # ---- wrong use
    def test_a_path_that_is_taken(self):
        sales, stock = self.pair("sqlite")
        stock.configure("log_file", str(stock.log))
        stock.configure("listen", f"127.0.0.1:{stock.port}/sales")
        problem = self.wait_for(lambda: json.loads(stock.call("health")[0][0])["checks"],
                                lambda checks: any("choose another path" in check.get("text", "") for check in checks), "it says so")
        self.assertTrue(any("'sales'" in check.get("text", "") for check in problem))
        self.assertIn("choose another path", stock.log_text())
        self.assertTrue(self.pinged(sales))
        stock.configure("listen", f"127.0.0.1:{stock.port}/shop")
        stock.url = f"http://127.0.0.1:{stock.port}/shop"
        self.wait_for(lambda: self.pinged(stock), bool, "under another path it can be reached")

    def test_a_path_that_means_something_else(self):
        node = self.sqlite("one", SCHEMA)
        for path in ("/api", "/rowmesh", "/a/b", "/"):
            with self.subTest(path), self.assert_says("path"):
                node.call("config", "listen", f"127.0.0.1:{node.port}{path}")
