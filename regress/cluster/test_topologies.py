"""Three nodes in a mesh, a chain and a star; PostgreSQL only, SQLite only, mixed: everything arrives everywhere, once."""
import threading

from harness import ClusterTest
from nodes import SECRET, chain, mesh, server_state, star, wait_linked

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, team TEXT, points INTEGER NOT NULL DEFAULT 0)"
ROWS = 50
ENGINES = {
    "postgresql": ["postgresql"] * 3,
    "sqlite": ["sqlite"] * 3,
    "mixed": ["postgresql", "sqlite", "sqlite"],
}
SHAPES = {"mesh": mesh, "chain": chain, "star": star}


def captured(node):
    """Local changes that the node's worker has read from its log: what was applied from others must not be among them."""
    if node.engine == "postgresql":
        return node.one("SELECT (rowmesh.published_status()::jsonb ->> 'captured')::bigint")
    return node.ask("SELECT captured FROM rowmesh_node")[0][0]


def received(node):
    return sum(row["rows_received"] for row in node.view("status"))


class Topologies(ClusterTest):
    def check(self, engines, shape):
        nodes = [self.node(engine, name, SCHEMA) for engine, name in zip(ENGINES[engines], ("north", "east", "south"))]
        self.join(nodes, SHAPES[shape](nodes))
        self.everything_arrives_once(nodes)
        self.edits_of_different_columns_both_stay(nodes)
        self.deletes_arrive(nodes)
        self.assertEqual([[]] * 3, [node.view("quarantine") for node in nodes])

    def everything_arrives_once(self, nodes):
        """Neighbours that have just met do not know yet what the other gets directly, so the first rounds may offer rows twice."""
        rounds = iter(range(1000, 100000, 1000))

        def received_in_a_round():
            before = [received(node) for node in nodes]
            self.write_everywhere(nodes, next(rounds))
            return [received(node) - count for node, count in zip(nodes, before)]

        self.wait_for(received_in_a_round, lambda counts: counts == [2 * ROWS] * 3, "each node receives each foreign row once", 25)
        written = ROWS * (next(rounds) // 1000 - 1)
        self.assertEqual(3 * written, nodes[0].one("SELECT count(*) FROM person"))
        # The log proves that nothing is echoed: each node noted its own rows and no foreign one.
        self.assertEqual([written] * 3, [captured(node) for node in nodes])

    def write_everywhere(self, nodes, first):
        def write(node, start):
            connection = node.connect()
            cursor = connection.cursor()
            for id in range(start, start + ROWS):
                cursor.execute(f"INSERT INTO person (id, name) VALUES ({id}, 'written on {node.name}')")
            connection.close()

        threads = [threading.Thread(target=write, args=(node, first + 100 * place)) for place, node in enumerate(nodes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.wait_equal(nodes)
        for node in nodes:
            self.wait_for(lambda: node.call("queue_size")[0][0], lambda size: size == 0, f"{node.name} has nothing left to ship")

    def edits_of_different_columns_both_stay(self, nodes):
        """All at once, on rows that everybody has; nobody had seen the others' edit."""
        for node in nodes:
            node.call("disable")
        nodes[0].run("UPDATE person SET team = 'red' WHERE id < 1010")
        nodes[1].run("UPDATE person SET points = 7 WHERE id < 1010")
        nodes[2].run("UPDATE person SET name = 'Ada' WHERE id < 1010")
        for node in nodes:
            node.call("enable")
        self.wait_equal(nodes)
        self.assertEqual([("Ada", "red", 7)] * 10, nodes[2].run("SELECT name, team, points FROM person WHERE id < 1010"))

    def deletes_arrive(self, nodes):
        for node in nodes:
            node.run(f"DELETE FROM person WHERE name = 'written on {node.name}' AND id % 2 = 0")
        self.wait_equal(nodes)


def add_case(engines, shape):
    def test(self):
        self.check(engines, shape)
    setattr(Topologies, f"test_three_nodes_in_a_{shape}_{engines}", test)


for _engines in ENGINES:
    for _shape in SHAPES:
        add_case(_engines, _shape)


class Meeting(ClusterTest):
    """The usual way to set up two nodes: first one, and a moment later the other."""

    def failed_requests(self, node):
        if node.engine == "postgresql":
            return node.one("SELECT coalesce(max((s ->> 'failures')::integer), 0) FROM jsonb_array_elements(rowmesh.published_status()::jsonb -> 'servers') s")
        return node.ask("SELECT coalesce(max(json_extract(status, '$.servers[0].failures')), 0) FROM rowmesh_published")[0][0]

    def check(self, engine):
        """Found in a browser: the second node asked up to a thousand times a second, until the first one knocked again."""
        second, first = self.node(engine, "second", SCHEMA), self.sqlite("first", SCHEMA)
        for node in (first, second):
            node.call("add_table", "person")
        first.call("add_server", "second", second.url, SECRET)
        self.wait_for(lambda: server_state(first, "second")["last_error"] or "", lambda said: "does not know you" in said, "it knocked in vain")
        self.wait_for(lambda: self.failed_requests(first), lambda failures: failures >= 5, "it comes seldom by now")
        second.call("add_server", "first", first.url, SECRET)
        wait_linked([(first, second)])
        second.run("INSERT INTO person VALUES (1, 'Ada', 'a', 1)")
        self.wait_equal([first, second])
        first.run("UPDATE person SET points = 2")
        self.wait_equal([first, second])
        self.assertLess(self.failed_requests(second), 15)

    def test_a_node_that_is_set_up_later_is_met_without_hundreds_of_requests_postgresql(self):
        self.check("postgresql")

    def test_a_node_that_is_set_up_later_is_met_without_hundreds_of_requests_sqlite(self):
        self.check("sqlite")
