"""Things that broke other systems, one test each, where no other module has it. docs/scenarios.md lists all scenarios and their tests."""
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import threading

import places
from harness import ClusterTest
from nodes import chain, link, mesh, server_state, wait_linked

ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER)"
MANY = 100_000


class Transactions(ClusterTest):
    def watched(self, node, sql, stop, seen):
        def watch():
            with contextlib.closing(node.connect()) as connection:
                while not stop.is_set():
                    cursor = connection.cursor()
                    cursor.execute(sql)
                    seen.add(int(cursor.fetchone()[0]))
        thread = threading.Thread(target=watch, daemon=True)
        self.addCleanup(stop.set)
        thread.start()
        return thread

    def whole(self, source, target, sql):
        self.join([source, target], [(source, target)])
        stop, seen = threading.Event(), set()
        thread = self.watched(target, "SELECT count(*) FROM item", stop, seen)
        source.run(sql)
        self.wait_for(lambda: target.one("SELECT count(*) FROM item"), lambda count: count == MANY, "all of it is there", 120)
        stop.set()
        thread.join(20)
        self.assertLessEqual(seen, {0, MANY}, "a part of a transaction was seen")

    def test_t16_a_transaction_of_100000_rows_is_seen_whole_or_not_at_all_postgresql_to_sqlite(self):
        self.whole(self.postgres("hq", ITEM), self.sqlite("north", ITEM), f"INSERT INTO item SELECT i, 'row ' || i, i FROM generate_series(1, {MANY}) i")

    def test_t16_a_transaction_of_100000_rows_is_seen_whole_or_not_at_all_sqlite_to_postgresql(self):
        self.whole(self.sqlite("north", ITEM), self.postgres("hq", ITEM),
                   f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) INSERT INTO item SELECT i, 'row ' || i, i FROM n")

    def test_t18_one_transaction_over_60_tables(self):
        schema = ";".join(f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, v TEXT)" for number in range(60)) + ";"
        hq, north = self.postgres("hq", schema), self.sqlite("north", schema)
        self.join([hq, north], [(hq, north)])
        hq.run("BEGIN;" + ";".join(f"INSERT INTO t{number} VALUES (1, 'x')" for number in range(60)) + "; COMMIT")
        self.wait_equal([hq, north], timeout_s=120)

    def test_m2_values_that_change_places_in_one_transaction(self):
        schema = "CREATE TABLE seat (id INTEGER PRIMARY KEY, place TEXT UNIQUE)"
        north, hq = self.sqlite("north", schema), self.postgres("hq", schema)
        self.join([north, hq], [(north, hq)])
        north.run("INSERT INTO seat VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        self.wait_equal([north, hq])
        north.run("BEGIN; UPDATE seat SET place = 'x' WHERE id = 1; UPDATE seat SET place = 'a' WHERE id = 2; UPDATE seat SET place = 'b' WHERE id = 1; COMMIT;")
        hq.run("BEGIN; UPDATE seat SET place = 'y' WHERE id = 3; COMMIT")
        self.wait_equal([north, hq])
        self.assert_quiet([north, hq])
        self.assertEqual([(1, "b"), (2, "a"), (3, "y")], hq.run("SELECT id, place FROM seat ORDER BY id"))

    def test_t20_writers_that_lock_the_same_rows_the_other_way_round(self):
        hq, south = self.postgres("hq", ITEM), self.postgres("south", ITEM)
        self.join([hq, south], [(hq, south)])
        hq.run("INSERT INTO item SELECT i, 'row', 0 FROM generate_series(1, 40) i")
        self.wait_equal([hq, south])
        failures = []

        def write(node, order):
            with contextlib.closing(node.connect(autocommit=False)) as connection, connection.cursor() as cursor:
                for turn in range(15):
                    try:
                        for id in order:
                            cursor.execute(f"UPDATE item SET {'name' if node is hq else 'amount'} = '{turn}' WHERE id = {id}")
                        connection.commit()
                    except Exception as error:
                        failures.append(error)
                        connection.rollback()
        threads = [threading.Thread(target=write, args=(hq, range(1, 41))), threading.Thread(target=write, args=(south, range(40, 0, -1)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], failures, "the application never gives way")
        self.wait_equal([hq, south])
        self.assert_quiet([hq, south])


class Merging(ClusterTest):
    def test_t33_m8_a_child_is_written_here_while_its_parent_is_deleted_there(self):
        schema = ("CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);"
                  "CREATE TABLE child (id TEXT PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE);")
        hq, north = self.postgres("hq", schema), self.sqlite("north", schema)
        self.join([hq, north], [(hq, north)])
        hq.run("INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES ('old', 1)")
        self.wait_equal([hq, north])
        north.stop()
        north.run("PRAGMA foreign_keys = ON")
        north.run("INSERT INTO child VALUES ('new', 1)")
        hq.run("DELETE FROM parent WHERE id = 1")   # takes 'old' with it
        north.start()
        self.wait_equal([hq, north])
        # The delete took with it the children that it had seen, and no others: what to do about that one is for people to say.
        self.assertEqual([("new",)], hq.run("SELECT id FROM child"))
        self.assertEqual([[], []], [hq.view("quarantine"), north.view("quarantine")])

    def test_t60_an_origin_dies_when_only_one_other_has_its_changes(self):
        nodes = [self.sqlite(name, ITEM) for name in ("a", "b", "c")]
        a, b, c = nodes
        self.join(nodes, mesh(nodes))
        b.freeze()
        a.run("INSERT INTO item VALUES (1, 'last words', 1)")
        self.wait_for(lambda: c.one("SELECT count(*) FROM item"), lambda count: count == 1, "c has it")
        a.kill()
        b.thaw()
        self.wait_for(lambda: b.one("SELECT count(*) FROM item"), lambda count: count == 1, "b gets it from c", 60)

    def test_t27_two_who_write_the_same_value_at_once_are_no_conflict_that_stays(self):
        one, two = self.sqlite("one", ITEM), self.sqlite("two", ITEM)
        self.join([one, two], [(one, two)])
        one.run("INSERT INTO item VALUES (1, 'x', 0)")
        self.wait_equal([one, two])
        one.stop(), two.stop()
        for node in (one, two):
            node.run("UPDATE item SET name = 'same' WHERE id = 1")
        one.start(), two.start()
        self.wait_equal([one, two])
        self.assertEqual([("same",)], one.run("SELECT name FROM item"))

    def test_m16_an_empty_text_is_not_null(self):
        nodes = [self.postgres("hq", ITEM), self.sqlite("north", ITEM)]
        self.join(nodes, [tuple(nodes)])
        nodes[0].run("INSERT INTO item VALUES (1, '', 0), (2, NULL, 0)")
        nodes[1].run("INSERT INTO item VALUES (3, '', NULL)")
        self.wait_equal(nodes)
        self.assertEqual([("",), (None,), ("",)], nodes[1].run("SELECT name FROM item ORDER BY id"))

    def test_m17_h20_names_in_other_cases_and_schemas(self):
        hq = self.postgres("hq", 'CREATE TABLE "Order" ("Id" integer PRIMARY KEY, "Group By" text); CREATE SCHEMA two; CREATE TABLE two.item (id integer PRIMARY KEY, v text)')
        north = self.sqlite("north", 'CREATE TABLE "Order" ("Id" INTEGER PRIMARY KEY, "Group By" TEXT); CREATE TABLE two_item (id INTEGER PRIMARY KEY, v TEXT);')
        hq.call("add_table", '"Order"')
        north.call("add_table", "Order")
        hq.call("add_table", "two.item")
        north.call("add_table", "two_item", name="two.item")
        link(hq, north)
        wait_linked([(hq, north)])
        hq.run("""INSERT INTO "Order" VALUES (1, 'it''s "quoted"'); INSERT INTO two.item VALUES (1, 'a')""")
        self.wait_equal([hq, north], ["Order"])
        self.wait_for(lambda: north.run("SELECT * FROM two_item"), lambda rows: rows == [(1, "a")], "the table of another schema arrived")

    def test_m23_what_was_written_while_it_was_disabled_is_shipped_afterwards(self):
        nodes = [self.postgres("hq", ITEM), self.sqlite("north", ITEM)]
        self.join(nodes, [tuple(nodes)])
        for node in nodes:
            node.call("disable")
        nodes[0].run("INSERT INTO item VALUES (1, 'while off', 0)")
        nodes[1].run("INSERT INTO item VALUES (2, 'while off', 0)")
        self.wait_for(lambda: server_state(nodes[0], "north")["state"], lambda state: state == "disabled", "it says so")
        for node in nodes:
            node.call("enable")
        self.wait_equal(nodes, timeout_s=60)
        self.assertEqual(2, nodes[0].one("SELECT count(*) FROM item"))

    def test_t42_triggers_of_the_application_on_the_receiving_side(self):
        hq, south = self.postgres("hq", ITEM + "; CREATE TABLE local_log (what text)"), self.postgres("south", ITEM + "; CREATE TABLE local_log (what text)")
        south.run("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.local_log VALUES (tg_name || ' ' || new.id); RETURN new; END $$;"
                  "CREATE TRIGGER ordinary AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION note();"
                  "CREATE TRIGGER always AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION note();"
                  "ALTER TABLE item ENABLE ALWAYS TRIGGER always")
        self.join([hq, south], [(hq, south)], tables=("item",))
        hq.run("INSERT INTO item VALUES (1, 'a', 0)")
        self.wait_equal([hq, south], ["item"])
        self.assertEqual([("always 1",)], south.run("SELECT what FROM local_log"))
        south.run("INSERT INTO item VALUES (2, 'b', 0)")
        self.wait_equal([hq, south], ["item"])
        self.assertEqual({("always 1",), ("always 2",), ("ordinary 2",)}, set(south.run("SELECT what FROM local_log")))
        self.assertEqual([], hq.run("SELECT what FROM local_log"))

    def test_t43_temporary_tables_and_views_are_no_business_of_others(self):
        hq = self.postgres("hq", ITEM)
        hq.call("add_table", "*")
        hq.run("CREATE TEMP TABLE scratch (id integer PRIMARY KEY); INSERT INTO scratch VALUES (1); CREATE VIEW seen AS SELECT * FROM item")
        hq.run("CREATE TABLE made_of_it AS SELECT * FROM item; ALTER TABLE made_of_it ADD PRIMARY KEY (id)")
        self.wait_for(lambda: {row["name"] for row in hq.view("tables")}, lambda names: names == {"item", "made_of_it"}, "ordinary tables only")


class Files(ClusterTest):
    def test_l17_a_program_that_keeps_the_file_for_itself_is_reported_and_nothing_is_lost(self):
        one, two = self.sqlite("one", ITEM), self.sqlite("two", ITEM)
        self.join([one, two], [(one, two)])
        one.stop()
        one.disconnect()
        hog = sqlite3.connect(one.file, isolation_level=None)
        self.addCleanup(hog.close)
        hog.execute("PRAGMA locking_mode = EXCLUSIVE")
        hog.execute("INSERT INTO item VALUES (1, 'mine alone', 0)")
        program = subprocess.run([sys.executable, "-c", f"""
import sqlite3, sys
db = sqlite3.connect({one.file!r}, timeout=0.2)
db.enable_load_extension(True)
try:
    db.load_extension({places.sqlite_extension()!r})
    db.execute('SELECT rowmesh_health()').fetchone()
except sqlite3.OperationalError as error:
    print(error)
"""], stdout=subprocess.PIPE, text=True, check=True)
        self.assertIn("locked", program.stdout)
        hog.close()
        one.start()
        self.wait_equal([one, two])

    def test_l18_a_file_that_sqlite_cannot_read_is_left_alone_when_the_extension_is_loaded(self):
        folder = places.new_folder("odd")
        odd = folder / "encrypted.db"
        odd.write_bytes(os.urandom(8192))
        before = odd.read_bytes()
        db = sqlite3.connect(odd)
        db.enable_load_extension(True)
        db.load_extension(places.sqlite_extension())
        self.assertTrue(db.execute("SELECT rowmesh_version()").fetchone()[0])
        with self.assertRaises(sqlite3.DatabaseError):
            db.execute("SELECT rowmesh_add_table('*')")
        db.close()
        self.assertEqual(before, odd.read_bytes())
        self.assertEqual(["encrypted.db"], sorted(entry.name for entry in folder.iterdir()))

    def test_l3_the_write_ahead_log_does_not_grow_while_the_worker_runs(self):
        one, two = self.sqlite("one", ITEM), self.sqlite("two", ITEM)
        self.join([one, two], [(one, two)])
        for turn in range(60):
            one.run(f"INSERT INTO item VALUES ({turn}, '{'x' * 100_000}', 0)")
        self.wait_equal([one, two])
        for node in (one, two):
            self.assertLess(pathlib.Path(node.file + "-wal").stat().st_size, 12_000_000, "checkpoints are held up by somebody who reads for ever")

    def test_l16_c36_virtual_tables_and_shadow_tables_are_left_out_and_kept_up_by_local_triggers(self):
        schema = (ITEM + ";CREATE VIRTUAL TABLE found USING fts5(name, content='item', content_rowid='id');"
                  "CREATE TRIGGER fill AFTER INSERT ON item BEGIN INSERT INTO found(rowid, name) VALUES (new.id, new.name); END;")
        one, two = self.sqlite("one", schema), self.sqlite("two", schema)
        self.join([one, two], [(one, two)])
        self.assertEqual(["item"], [row["name"] for row in one.view("tables")])
        one.run("INSERT INTO item VALUES (1, 'a needle in the hay', 0)")
        self.wait_equal([one, two], ["item"])
        self.assertEqual([(1,)], two.run("SELECT rowid FROM found WHERE found MATCH 'needle'"))

    def test_c12_c22_writes_that_sqlite_tells_nobody_of_are_documented(self):
        guarantees = (places.TOP / "docs" / "guarantees.md").read_text()
        for words in ("sqlite3_blob_write", "triggers switched off"):
            self.assertIn(words, guarantees)

    def test_c16_numbers_of_a_log_that_was_emptied_begin_again_and_nothing_is_taken_for_known(self):
        one, two = self.sqlite("one", ITEM), self.sqlite("two", ITEM)
        self.join([one, two], [(one, two)])
        for turn in range(5):
            one.run(f"INSERT INTO item VALUES ({turn}, 'a', 0)")
            self.wait_equal([one, two])
            self.wait_for(lambda: one.one("SELECT count(*) FROM rowmesh_log"), lambda count: count == 0, "the log was read")
            one.stop(), one.start()
        self.assertEqual(5, two.one("SELECT count(*) FROM item"))

    def test_c18_delete_without_where(self):
        one, two = self.sqlite("one", ITEM), self.sqlite("two", ITEM)
        self.join([one, two], [(one, two)])
        one.run("INSERT INTO item VALUES (1, 'a', 0), (2, 'b', 0)")
        self.wait_equal([one, two])
        one.run("DELETE FROM item")
        self.wait_equal([one, two])
        self.assertEqual(0, two.one("SELECT count(*) FROM item"))

    def test_l14_an_older_file_is_put_in_place_while_the_worker_runs(self):
        one, two = self.sqlite("one", ITEM), self.sqlite("two", ITEM)
        self.join([one, two], [(one, two)])
        one.run("INSERT INTO item VALUES (1, 'a', 0)")
        self.wait_equal([one, two])
        backup = one.folder / "backup.db"
        one.run("VACUUM INTO ?", str(backup))
        one.run("INSERT INTO item VALUES (2, 'after the backup', 0)")
        self.wait_equal([one, two])
        one.disconnect()
        for suffix in ("-wal", "-shm"):
            pathlib.Path(one.file + suffix).unlink(missing_ok=True)
        os.replace(backup, one.file)
        self.wait_for(lambda: server_state(two, "one")["last_error"] or "", lambda text: "new_identity" in text, "it stands still and says so", 60)
        self.assertEqual(2, two.one("SELECT count(*) FROM item"))


class Chain(ClusterTest):
    def test_t31_h7_a_chain_hands_on_what_its_middle_refuses(self):
        nodes = [self.sqlite("left", ITEM), self.sqlite("middle", ITEM.replace("amount INTEGER", "amount INTEGER CHECK (amount < 100)")), self.sqlite("right", ITEM)]
        self.join(nodes, chain(nodes))
        nodes[0].run("INSERT INTO item VALUES (1, 'fits', 1), (2, 'does not', 1000)")
        self.wait_equal([nodes[0], nodes[2]])
        self.assertEqual(1, len(nodes[1].view("quarantine")))


