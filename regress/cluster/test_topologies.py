"""Three nodes in a mesh, a chain and a star; PostgreSQL only, SQLite only, mixed: everything arrives everywhere, once."""
import threading

from harness import ClusterTest
from nodes import chain, mesh, star

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


class Topologies(ClusterTest):
    def check(self, engines, shape):
        nodes = [self.node(engine, name, SCHEMA) for engine, name in zip(ENGINES[engines], ("north", "east", "south"))]
        self.join(nodes, SHAPES[shape](nodes))
        self.everything_arrives_once(nodes)
        self.edits_of_different_columns_both_stay(nodes)
        self.deletes_arrive(nodes)
        self.assertEqual([[]] * 3, [node.view("quarantine") for node in nodes])

    def everything_arrives_once(self, nodes):
        def write(node, first):
            connection = node.connect()
            cursor = connection.cursor()
            for id in range(first, first + ROWS):
                cursor.execute(f"INSERT INTO person (id, name) VALUES ({id}, 'written on {node.name}')")
            connection.close()

        threads = [threading.Thread(target=write, args=(node, 1000 * place)) for place, node in enumerate(nodes, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.wait_equal(nodes)
        self.assertEqual(3 * ROWS, nodes[0].one("SELECT count(*) FROM person"))
        for node in nodes:
            self.wait_for(lambda: node.call("queue_size")[0][0], lambda size: size == 0, f"{node.name} has nothing left to ship")
            received = {row["server"]: row["rows_received"] for row in node.view("status")}
            self.assertEqual(2 * ROWS, sum(received.values()), f"{node.name} received each foreign row once: {received}")
            self.assertEqual(ROWS, captured(node), f"{node.name} noted its own rows and no foreign one")

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
