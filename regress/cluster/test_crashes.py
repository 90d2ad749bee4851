"""kill -9 in the middle of work: nothing is lost and nothing arrives twice."""
import sqlite3
import threading

import psycopg2

from harness import ClusterTest

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, touched INTEGER NOT NULL DEFAULT 0)"
ROWS = 1500


class Writer(threading.Thread):
    """Writes until it is done, over every interruption, and knows what was acknowledged."""

    def __init__(self, node, first):
        super().__init__()
        self.node, self.ids, self.acknowledged, self.halfway = node, range(first, first + ROWS), set(), threading.Event()
        self.give_up = False

    def run(self):
        connection = None
        for id in self.ids:
            while not self.give_up:
                try:
                    connection = connection or self.node.connect()
                    connection.cursor().execute(f"INSERT INTO person (id, name) VALUES ({id}, 'by {self.node.name}') ON CONFLICT DO NOTHING")
                    self.acknowledged.add(id)
                    break
                except (psycopg2.Error, sqlite3.Error):
                    connection = None
                    threading.Event().wait(0.02)
            if len(self.acknowledged) > ROWS / 4:
                self.halfway.set()
        self.halfway.set()
        if connection:
            connection.close()


class Crashes(ClusterTest):
    def crash(self, engine, accident, restart):
        victim, other = self.node(engine, "victim", SCHEMA), self.sqlite("other", SCHEMA)
        self.join([victim, other], [(victim, other)])
        writers = [Writer(victim, 10000), Writer(other, 20000)]
        self.addCleanup(lambda: [setattr(writer, "give_up", True) for writer in writers])
        for writer in writers:
            writer.start()
        for _ in range(3):
            writers[0].halfway.wait(60)
            accident(victim)
            restart(victim)
        for writer in writers:
            writer.join(120)
        self.wait_equal([victim, other], timeout_s=60)
        present = {row[0] for row in other.run("SELECT id FROM person")}
        self.assertEqual(set(), (writers[0].acknowledged | writers[1].acknowledged) - present, "an acknowledged row is missing")
        # Nothing twice: an update of each row is one change of it, and both sides still agree about every column.
        victim.run("UPDATE person SET touched = touched + 1")
        self.wait_equal([victim, other], timeout_s=60)
        self.assertEqual([(1,)], other.run("SELECT DISTINCT touched FROM person"))
        self.assertEqual([[], []], [victim.view("quarantine"), other.view("quarantine")])
        self.assertEqual([[], []], [victim.view("conflicts"), other.view("conflicts")])

    def test_kill_9_of_the_postgresql_worker(self):
        self.crash("postgresql", lambda node: node.kill_worker(), lambda node: node.wait_ready())

    def test_kill_9_of_the_whole_postgresql_server(self):
        self.crash("postgresql", lambda node: node.kill(), lambda node: node.start())

    def test_kill_9_of_the_program_that_hosts_the_sqlite_worker(self):
        self.crash("sqlite", lambda node: node.kill(), lambda node: node.start())

    def test_a_sqlite_worker_starts_by_itself_when_the_file_is_opened_with_the_extension_again(self):
        one, two = self.sqlite("one", SCHEMA), self.sqlite("two", SCHEMA)
        self.join([one, two], [(one, two)])
        one.stop()
        one.run("INSERT INTO person (id, name) VALUES (1, 'written while no worker ran')")
        one.start()
        self.wait_equal([one, two])

    def test_two_programs_with_the_same_file_have_one_worker(self):
        one, two = self.sqlite("one", SCHEMA), self.sqlite("two", SCHEMA)
        self.join([one, two], [(one, two)])
        first = one.host
        one.start()   # a second program opens the same file
        second, one.host = one.host, first
        one.run("INSERT INTO person (id, name) VALUES (1, 'a')")
        self.wait_equal([one, two])
        one.kill()    # the first dies; the second takes over
        one.host = second
        one.run("INSERT INTO person (id, name) VALUES (2, 'b')")
        self.wait_equal([one, two])
