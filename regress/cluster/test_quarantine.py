"""A row that this database refuses waits with its reason; everything else flows on."""
from harness import ClusterTest

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER)"
ROWS = 10000


class Quarantine(ClusterTest):
    def refuse_one(self, sender_engine, receiver_engine, receiver_schema):
        sender, receiver = self.node(sender_engine, "sender", SCHEMA), self.node(receiver_engine, "receiver", receiver_schema)
        self.join([sender, receiver], [(sender, receiver)])
        sender.run("BEGIN")
        for first in range(1, ROWS, 500):
            sender.run("INSERT INTO person VALUES " + ", ".join(f"({id}, 'p{id}', {-1 if id == 4711 else id % 90})" for id in range(first, first + 500)))
        sender.run("COMMIT")
        self.wait_for(lambda: receiver.one("SELECT count(*) FROM person"), lambda count: count == ROWS - 1, "all rows but one are there", 60)
        entry = self.wait_for(lambda: receiver.view("quarantine"), lambda rows: len(rows) == 1, "the refused row is in quarantine")[0]
        self.assertIn("4711", str(entry))
        self.assertIn("p4711", str(entry), "the payload is shown")
        text = " ".join(str(value) for value in entry.values()).lower()
        self.assertRegex(text, "check|constraint")
        # Later changes of the row join into the same entry.
        sender.run("UPDATE person SET name = 'still refused' WHERE id = 4711")
        self.wait_for(lambda: receiver.view("quarantine"), lambda rows: len(rows) == 1 and "still refused" in str(rows), "the entry has the newer name")
        return sender, receiver, entry

    def test_postgresql_refuses_one_of_ten_thousand_rows_and_takes_it_when_the_check_is_gone(self):
        sender, receiver, entry = self.refuse_one("sqlite", "postgresql",
                                                  SCHEMA[:-1] + ", CONSTRAINT grown_up CHECK (age >= 0))")
        # In one transaction: when the table has changed the worker tries the row again by itself, and then the entry is gone.
        receiver.run(f"ALTER TABLE person DROP CONSTRAINT grown_up; SELECT rowmesh.retry({int(entry['id'])})")
        self.wait_equal([sender, receiver])
        self.wait_for(lambda: receiver.view("quarantine"), lambda rows: rows == [], "the quarantine is empty")

    def test_sqlite_refuses_one_of_ten_thousand_rows_and_the_sender_mends_it(self):
        sender, receiver, _ = self.refuse_one("postgresql", "sqlite", SCHEMA[:-1] + ", CHECK (age >= 0))")
        sender.run("UPDATE person SET age = 41 WHERE id = 4711")
        self.wait_equal([sender, receiver])
        self.wait_for(lambda: receiver.view("quarantine"), lambda rows: rows == [], "the quarantine is empty")

    def test_discard_writes_the_local_row_back(self):
        sender, receiver = self.sqlite("sender", SCHEMA), self.postgres("receiver", SCHEMA[:-1] + ", CHECK (age >= 0))")
        self.join([sender, receiver], [(sender, receiver)])
        sender.run("INSERT INTO person VALUES (1, 'Ada', 30)")
        self.wait_equal([sender, receiver])
        sender.run("UPDATE person SET age = -3 WHERE id = 1")
        entry = self.wait_for(lambda: receiver.view("quarantine"), bool, "the refused update is in quarantine")[0]
        self.assertEqual(30, receiver.one("SELECT age FROM person"))
        receiver.call("discard", entry["id"])
        self.wait_equal([sender, receiver])
        self.assertEqual(30, sender.one("SELECT age FROM person"))

    def give_way(self, engine):
        schema = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, desk TEXT UNIQUE{})"
        sender, receiver = self.sqlite("sender", schema.format("")), self.node(engine, "receiver", schema.format(", CHECK (age >= 0)"))
        self.join([sender, receiver], [(sender, receiver)])
        sender.run("INSERT INTO person VALUES (1, 'Ada', 30, 'window'), (2, 'Ben', 40, 'door')")
        self.wait_equal([sender, receiver])
        sender.run("BEGIN; UPDATE person SET age = -3, desk = NULL WHERE id = 1; UPDATE person SET desk = 'window' WHERE id = 2; COMMIT")
        self.wait_for(lambda: receiver.one("SELECT desk FROM person WHERE id = 2"), lambda desk: desk == "window", "the row that nothing refuses is there")
        entry = self.wait_for(lambda: receiver.view("quarantine"), lambda rows: len(rows) == 1, "the refused one is in quarantine")[0]
        self.assertIn("Ada", str(entry), "as a whole")
        sender.run("UPDATE person SET age = 31 WHERE id = 1")
        self.wait_equal([sender, receiver])
        self.wait_for(lambda: receiver.view("quarantine"), lambda rows: rows == [], "the quarantine is empty")

    # Applier::give_way: the older image of a refused update stood in the way of a row that had taken its UNIQUE value.
    def test_a_refused_update_gives_way_to_who_took_its_value_in_postgresql(self):
        self.give_way("postgresql")

    def test_a_refused_update_gives_way_to_who_took_its_value_in_sqlite(self):
        self.give_way("sqlite")
