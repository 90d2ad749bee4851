"""What the cluster tests derive from: nodes that are closed whatever happens, and assertions about whole clusters."""
import contextlib
import sys
import unittest

from compare import differences
from nodes import PostgresNode, PostgresServer, SqliteNode, link, published, wait_linked  # noqa: F401
from places import SetupError, built
from waiting import NotYet, wait_until


class ClusterTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.nodes = []

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            self.explain()
        for node in getattr(self, "nodes", []):
            try:
                node.close()
            except SetupError:   # a program that crashes when it ends
                if result:
                    result.addError(self, sys.exc_info())
            except Exception:
                pass

    def explain(self):
        """What someone who reads the failure wants to know: what each node said of itself, and the end of its log."""
        for node in getattr(self, "nodes", []):
            print(f"---- {self.id()}: {node.name}")
            with contextlib.suppress(Exception):
                node.thaw()   # one that a test froze would never answer
            with contextlib.suppress(Exception):
                for row in node.view("status"):
                    print("   ", row)
            with contextlib.suppress(Exception):
                print("   ", node.call("health"))
            lines = [line for line in node.log_text().splitlines() if "checkpoint" not in line]
            print("\n".join(lines[-25:]), flush=True)

    # ---- making nodes
    def need(self, engine):
        """Either engine can be built alone: then the tests of the other one are left out."""
        if not built(engine):
            self.skipTest(f"the extension for {engine} is not built here")

    def postgres(self, name, schema="", **more):
        self.need("postgresql")
        node = PostgresNode(name, **more)
        self.nodes.append(node)
        if schema:
            node.run(schema)
        return node.begin()

    def sqlite(self, name, schema="", **more):
        self.need("sqlite")
        node = SqliteNode(name, **more)
        self.nodes.append(node)
        if schema:
            node.run(schema)
        return node.begin()

    def node(self, engine, name, schema="", **more):
        return {"postgresql": self.postgres, "sqlite": self.sqlite}[engine](name, schema, **more)

    def join(self, nodes, pairs, tables=("*",)):
        """Replicate the tables on all nodes, link the pairs, wait until they stream."""
        for node in nodes:
            for table in tables:
                node.call("add_table", table)
        for left, right in pairs:
            link(left, right)
        wait_linked(pairs)

    def write_alone(self, node, statement):
        """What a node writes before it knows a server concerns nobody, once its worker has read it: a server that is added sooner still gets it."""
        self.wait_for(lambda: published(node), lambda now: now and now["unsettled"] == 0, f"{node.name} has read its log")
        captured = published(node)["captured"]
        node.run(statement)
        self.wait_for(lambda: published(node), lambda now: now["captured"] > captured and now["unsettled"] == 0,
                      f"{node.name} is alone and settles all by itself")

    # ---- assertions
    def wait_equal(self, nodes, tables=None, timeout_s=60):
        try:
            wait_until(lambda: differences(nodes, tables), lambda found: not found,
                       f"{', '.join(node.name for node in nodes)} are equal", timeout_s, every_s=0.1)
        except NotYet as error:
            self.fail(str(error))

    def wait_for(self, fetch, predicate, description, timeout_s=30):
        try:
            return wait_until(fetch, predicate, description, timeout_s)
        except NotYet as error:
            self.fail(str(error))

    def assert_quiet(self, nodes):
        """Nothing waits in quarantine and nothing is listed as a conflict."""
        for node in nodes:
            self.assertEqual([], node.view("quarantine"), f"quarantine of {node.name}")
            self.assertEqual([], node.view("conflicts"), f"conflicts of {node.name}")

    @contextlib.contextmanager
    def assert_says(self, *words):
        """An error whose text has all these words: wrong use gets a sentence that says what to do."""
        try:
            yield
        except Exception as error:  # of either engine's driver
            text = str(error).lower()
            for word in words:
                self.assertIn(word.lower(), text)
            return
        self.fail(f"no error; expected one with: {', '.join(words)}")
