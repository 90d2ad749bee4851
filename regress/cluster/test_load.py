"""Everybody writes the same few rows at once, unique values among them: the nodes end equal, and no worker died on the way."""
import random
import sqlite3
import threading

import psycopg2

from harness import ClusterTest
from nodes import mesh

SCHEMA = """CREATE TABLE seat (code TEXT PRIMARY KEY, guest TEXT UNIQUE, note TEXT);
            CREATE TABLE visit (code TEXT, day TEXT, points INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (code, day))"""
WRITES = 800


class Guest(threading.Thread):
    def __init__(self, node, seed):
        super().__init__()
        self.node, self.random, self.failure = node, random.Random(seed), None

    def statement(self):
        code, guest, day = f"s{self.random.randint(1, 40)}", f"g{self.random.randint(1, 30)}", f"d{self.random.randint(1, 9)}"
        return self.random.choice([
            ("INSERT INTO seat (code, guest) VALUES (?, ?) ON CONFLICT (code) DO UPDATE SET guest = excluded.guest", (code, guest)),
            ("UPDATE seat SET guest = NULL WHERE code = ?", (code,)),
            ("UPDATE seat SET note = ? WHERE code = ?", (f"by {self.node.name} {self.random.random()}", code)),
            ("DELETE FROM seat WHERE code = ?", (code,)),
            ("INSERT INTO visit (code, day) VALUES (?, ?) ON CONFLICT (code, day) DO UPDATE SET points = visit.points + 1", (code, day)),
            ("DELETE FROM visit WHERE code = ? AND day = ?", (code, day)),
        ])

    def run(self):
        connection = self.node.connect()
        for _ in range(WRITES):
            sql, args = self.statement()
            try:
                connection.cursor().execute(sql.replace("?", "%s") if self.node.engine == "postgresql" else sql, args)
            except (psycopg2.IntegrityError, sqlite3.IntegrityError):
                continue   # the guest sits elsewhere
            except Exception as error:
                self.failure = error
                break
        connection.close()


class LongDocuments(ClusterTest):
    """Symptom: a transaction of more than 32 MB never arrived at a PostgreSQL server that had not used a temporary file yet ('no room for the
    body'). Mechanism: a long body goes to a file in base/pgsql_tmp, which PostgreSQL makes when it needs it first. Fix: the worker makes it."""

    def test_a_transaction_longer_than_bodies_in_memory(self):
        nodes = [self.postgres("one", "CREATE TABLE big (id integer PRIMARY KEY, content text)"),
                 self.postgres("two", "CREATE TABLE big (id integer PRIMARY KEY, content text)")]
        self.join(nodes, [tuple(nodes)])
        nodes[0].run("INSERT INTO big SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, 40) i")
        self.wait_equal(nodes)
        self.assertEqual([(40, 40 << 20)], nodes[1].run("SELECT count(*), sum(length(content)) FROM big"))


class Load(ClusterTest):
    def check(self, *engines):
        nodes = [self.node(engine, name, SCHEMA) for engine, name in zip(engines, ("north", "east", "south"))]
        self.join(nodes, mesh(nodes))
        servers = [node for node in nodes if node.engine == "postgresql"]
        workers = [node.worker_pids() for node in servers]
        guests = [Guest(node, seed) for seed, node in enumerate(nodes * 2)]
        for guest in guests:
            guest.start()
        for guest in guests:
            guest.join()
        self.assertEqual([None] * len(guests), [guest.failure for guest in guests])
        self.wait_equal(nodes)
        self.assertEqual(workers, [node.worker_pids() for node in servers])
        self.assertEqual([[]] * len(nodes), [[row for row in node.view("quarantine") if row.get("kind", "quarantined") == "quarantined"] for node in nodes])

    def test_two_postgresql_servers(self):
        self.check("postgresql", "postgresql")

    def test_both_engines(self):
        self.check("postgresql", "sqlite", "postgresql")
