"""Definitions that differ for a while: a table that does not fit waits with a reason, the others flow, and it goes on by itself."""
from harness import ClusterTest
from nodes import published, server_state

SCHEMA = """CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT, body TEXT);
CREATE TABLE other (id INTEGER PRIMARY KEY, title TEXT)"""
ENGINES = [("postgresql", "sqlite"), ("sqlite", "postgresql")]


def keep_for(node, seconds):
    """The setting `retention`."""
    if node.engine == "postgresql":
        node.run(f"ALTER DATABASE {node.database} SET rowmesh.retention = {seconds}")
        node.run("SELECT pg_reload_conf()")
    else:
        node.call("config", "retention", str(seconds))


class Schemas(ClusterTest):
    def pair(self, engines, schema=SCHEMA):
        left, right = self.node(engines[0], "left", schema), self.node(engines[1], "right", schema)
        self.join([left, right], [(left, right)])
        return left, right

    def wait_rows(self, node, sql, *rows, timeout_s=40):
        self.wait_for(lambda: node.run(sql), lambda found: found == list(rows), f"{node.name}: {sql} gives {rows}", timeout_s)

    def wait_waiting(self, node, *words):
        """The view `tables` says of `note` why it waits."""
        def reason():
            return next(str(row) for row in node.view("tables") if "note" in str(row.get("name") or row.get("wire_name")))
        return self.wait_for(reason, lambda text: all(word in text for word in words), f"tables of {node.name} says {words}")

    def nothing_waits(self, *nodes):
        for node in nodes:
            self.wait_for(lambda: str(node.view("tables")), lambda text: "other server" not in text and "catching up" not in text,
                          f"no table of {node.name} waits")

    def test_a_column_is_added_renamed_and_dropped_while_changes_are_queued(self):
        for engines in ENGINES:
            with self.subTest(engines):
                left, right = self.pair(engines)
                left.run("INSERT INTO note VALUES (1, 'one', 'a'), (2, 'two', 'b')")
                self.wait_rows(right, "SELECT id, title FROM note ORDER BY id", (1, "one"), (2, "two"))
                # added: what the new column holds waits for it, the other table does not
                left.run("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")
                left.run("UPDATE note SET stars = 5 WHERE id = 1")
                left.run("INSERT INTO other VALUES (1, 'flows')")
                self.wait_rows(right, "SELECT id, title FROM other", (1, "flows"))
                self.wait_waiting(right, "stars")
                self.wait_for(lambda: str(left.view("status")), lambda text: "stars" in text, "the sender says it too")
                right.run("UPDATE note SET body = 'from right' WHERE id = 2")
                self.wait_rows(left, "SELECT body, stars FROM note ORDER BY id", ("a", 5), ("from right", 0))
                right.run("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")
                self.wait_rows(right, "SELECT id, stars FROM note ORDER BY id", (1, 5), (2, 0))
                # renamed on one side, with a change of it that nobody has yet
                left.run("UPDATE note SET title = 'won' WHERE id = 1")
                left.run("ALTER TABLE note RENAME COLUMN title TO heading")
                left.run("UPDATE note SET heading = 'too' WHERE id = 2")
                self.wait_waiting(right, "heading")
                right.run("ALTER TABLE note RENAME COLUMN title TO heading")
                self.wait_rows(right, "SELECT heading, body, stars FROM note ORDER BY id", ("won", "a", 5), ("too", "from right", 0))
                # dropped: values do not shift into other columns
                left.run("UPDATE note SET stars = 7, heading = 'last' WHERE id = 2")
                self.drop_column(left, "note", "body")
                self.wait_rows(right, "SELECT heading, stars FROM note ORDER BY id", ("won", 5), ("last", 7))
                right.run("UPDATE note SET stars = 8, heading = 'shifted?' WHERE id = 1")
                self.wait_waiting(left, "body")   # until it is dropped there too
                self.drop_column(right, "note", "body")
                self.wait_rows(left, "SELECT heading, stars FROM note ORDER BY id", ("shifted?", 8), ("last", 7))
                left.run("INSERT INTO note (id, heading, stars) VALUES (3, 'three', 3)")
                right.run("UPDATE note SET stars = 9 WHERE id = 2")
                self.wait_equal([left, right])
                self.nothing_waits(left, right)
                # (What was changed while it waited may be listed as a conflict that is none: docs/guarantees.md.)
                self.assertEqual([], left.view("quarantine") + right.view("quarantine"))

    def drop_column(self, node, table, column):
        """As docs say it for programs that do not load the extension."""
        if node.engine == "sqlite":
            number = node.one("SELECT id FROM rowmesh_table WHERE name = ?", table)
            node.run(f"BEGIN; DROP TRIGGER rowmesh_{number}_update; ALTER TABLE {table} DROP COLUMN {column}; COMMIT")
        else:
            node.run(f"ALTER TABLE {table} DROP COLUMN {column}")

    def test_a_restart_after_a_dropped_column_keeps_values_in_their_columns(self):
        for engine in ("postgresql", "sqlite"):
            with self.subTest(engine):
                left, right = self.pair((engine, "sqlite"))
                left.run("INSERT INTO note VALUES (1, 'one', 'a')")
                self.wait_rows(right, "SELECT title, body FROM note", ("one", "a"))
                right.stop()
                left.run("UPDATE note SET body = 'late' WHERE id = 1")
                self.drop_column(left, "note", "title")
                left.run("INSERT INTO note (id, body) VALUES (2, 'two')")
                left.kill()
                left.start()
                right.start()
                self.wait_rows(right, "SELECT title, body FROM note ORDER BY id", ("one", "late"), (None, "two"), timeout_s=60)
                right.run("UPDATE note SET body = 'back' WHERE id = 1")
                self.wait_waiting(left, "title")
                self.drop_column(right, "note", "title")
                self.wait_rows(left, "SELECT body FROM note ORDER BY id", ("back",), ("two",))

    def test_rows_from_a_server_without_a_column_get_its_default(self):
        """Symptom: on PostgreSQL they waited in quarantine ("a value was left out"). Mechanism: an insert was given only what the sender has. Mend: default_value()."""
        for engines in ENGINES:
            with self.subTest(engines):
                left, right = self.pair(engines)
                left.run("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 7")
                left.run("ALTER TABLE note ADD COLUMN plain TEXT")
                extra = ""
                if left.engine == "postgresql":
                    left.run("ALTER TABLE note ADD COLUMN made TIMESTAMPTZ NOT NULL DEFAULT now(), ADD COLUMN low TEXT DEFAULT lower(current_user)")
                    extra = " AND made IS NOT NULL AND low IS NOT NULL"
                right.run("INSERT INTO note VALUES (1, 'one', 'a'), (2, 'two', 'b')")
                right.run("UPDATE note SET title = 'too' WHERE id = 2")
                self.wait_rows(left, "SELECT id, title, body, stars, plain FROM note WHERE stars = 7" + extra + " ORDER BY id", (1, "one", "a", 7, None), (2, "too", "b", 7, None))
                self.assert_quiet([left])

    def test_a_table_that_waits_longer_than_changes_are_kept_is_copied_when_it_fits(self):
        """Symptom: as long as one table waited on one server, the others kept the changes of all tables. Mend: shared/sync/waiting_tables.cpp."""
        for engines in ENGINES:
            with self.subTest(engines):
                left, right = self.pair(engines)
                left.run("INSERT INTO note VALUES (1, 'one', 'a'), (2, 'two', 'b'), (3, 'three', 'c')")
                self.wait_equal([left, right])
                keep_for(right, 4)
                left.run("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")
                left.run("UPDATE note SET title = 'won', stars = 5 WHERE id = 1")
                left.run("DELETE FROM note WHERE id = 2")
                right.run("INSERT INTO note VALUES (4, 'written meanwhile', 'd')")
                self.wait_waiting(right, "longer than changes are kept", "stars")
                left.run("INSERT INTO other VALUES (1, 'flows')")
                self.wait_rows(right, "SELECT id, title FROM other", (1, "flows"))
                for node in (left, right):
                    self.wait_for(lambda: published(node), lambda now: now["unsettled"] == 0, f"{node.name} keeps nothing for that table")
                left.run("INSERT INTO note VALUES (5, 'not taken either', 'e', 1)")
                right.run("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")
                rows = [(1, "won", 5), (3, "three", 0), (4, "written meanwhile", 0), (5, "not taken either", 1)]
                for node in (left, right):
                    self.wait_rows(node, "SELECT id, title, stars FROM note ORDER BY id", *rows, timeout_s=90)
                self.nothing_waits(left, right)
                self.assert_quiet([left, right])

    def test_other_keys_and_types_wait_with_a_reason(self):
        left = self.postgres("left", "CREATE TABLE note (id bigint PRIMARY KEY, body bytea); CREATE TABLE other (id bigint PRIMARY KEY, title text); "
                                     "CREATE TABLE keyed (a text, b text, PRIMARY KEY (a, b))")
        right = self.sqlite("right", "CREATE TABLE note (id INTEGER PRIMARY KEY, body TIMESTAMP); CREATE TABLE other (id INTEGER PRIMARY KEY, title TEXT); "
                                     "CREATE TABLE keyed (a TEXT PRIMARY KEY, b TEXT)")
        self.join([left, right], [(left, right)])
        left.run("INSERT INTO note VALUES (1, '\\x00ff')")
        left.run("INSERT INTO other VALUES (1, 'flows')")
        self.wait_rows(right, "SELECT title FROM other", ("flows",))
        self.wait_waiting(right, "body", "type")
        left.run("INSERT INTO keyed VALUES ('a', 'b')")
        self.wait_for(lambda: str(right.view("tables")), lambda text: "another primary key" in text, "the other key is said")
        left.run("ALTER TABLE note ALTER COLUMN body TYPE timestamp USING NULL")
        left.run("UPDATE note SET body = '2026-01-01 10:00:00'")
        self.wait_rows(right, "SELECT id, body FROM note ORDER BY id", (1, "2026-01-01 10:00:00.000000"))

    def test_a_type_is_widened_while_changes_are_queued(self):
        schema = "CREATE TABLE note (id integer PRIMARY KEY, points smallint, name varchar(5))"
        left, right = self.pair(("postgresql", "postgresql"), schema)
        left.run("INSERT INTO note VALUES (1, 1, 'short')")
        self.wait_rows(right, "SELECT id, points FROM note", (1, 1))
        left.run("ALTER TABLE note ALTER COLUMN points TYPE bigint, ALTER COLUMN name TYPE text")
        left.run("INSERT INTO note VALUES (2, 2, 'two'), (3, 5000000000, 'three')")
        left.run("UPDATE note SET name = 'longer than five' WHERE id = 1")
        self.wait_rows(right, "SELECT id FROM note ORDER BY id", (1,), (2,))
        self.wait_for(lambda: len(right.view("quarantine")), lambda count: count == 2, "two values wait: they do not fit yet")
        right.run("ALTER TABLE note ALTER COLUMN points TYPE bigint, ALTER COLUMN name TYPE text")
        self.wait_equal([left, right])
        self.assert_quiet([left, right])

    def test_a_table_is_renamed_dropped_and_made_anew(self):
        for engines in ENGINES:
            with self.subTest(engines):
                left, right = self.pair(engines)
                left.run("INSERT INTO note VALUES (1, 'one', NULL)")
                self.wait_rows(right, "SELECT id FROM note", (1,))
                right.run("ALTER TABLE note RENAME TO memo")
                left.run("INSERT INTO note VALUES (2, 'two', NULL)")
                self.wait_rows(right, "SELECT id FROM memo ORDER BY id", (1,), (2,))
                right.run("INSERT INTO memo VALUES (3, 'three', NULL)")
                self.wait_rows(left, "SELECT id FROM note ORDER BY id", (1,), (2,), (3,))
                right.run("ALTER TABLE memo RENAME TO note")
                right.run("DROP TABLE note")
                left.run("INSERT INTO note VALUES (4, 'four', NULL)")
                left.run("DELETE FROM note WHERE id = 1")
                left.run("INSERT INTO other VALUES (1, 'flows')")
                self.wait_rows(right, "SELECT id FROM other", (1,))
                right.run("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT, body TEXT)")
                self.wait_rows(right, "SELECT id FROM note ORDER BY id", (2,), (3,), (4,))
                right.run("UPDATE note SET body = 'again' WHERE id = 2")
                self.wait_equal([left, right])

    def test_a_big_value_that_was_left_out_is_asked_for(self):
        for engines in ENGINES:
            with self.subTest(engines):
                left, right = self.node(engines[0], "left", SCHEMA), self.node(engines[1], "right", SCHEMA)
                big = "x" * 20000
                left.run("INSERT INTO note VALUES (1, 'old', ?)", big)
                self.join([left, right], [(left, right)])
                left.run("UPDATE note SET title = 'new' WHERE id = 1")
                self.wait_rows(right, "SELECT id, title, body FROM note", (1, "new", big))
                self.assert_quiet([left, right])

    def test_a_primary_key_that_is_altered_while_changes_wait_stops_no_other_table(self):
        schema = "CREATE TABLE item (id integer PRIMARY KEY, name text NOT NULL); CREATE TABLE other (id integer PRIMARY KEY, name text)"
        left, right = self.postgres("left", schema), self.sqlite("right", schema)
        self.join([left, right], [(left, right)])
        left.run("INSERT INTO item VALUES (1, 'a')")
        self.wait_equal([left, right])
        right.stop()
        left.run("INSERT INTO item VALUES (2, 'b')")
        left.run("ALTER TABLE item DROP CONSTRAINT item_pkey; ALTER TABLE item ADD PRIMARY KEY (id, name)")
        left.run("INSERT INTO item VALUES (3, 'under the new key')")
        left.run("INSERT INTO other VALUES (7, 'goes on')")
        right.start()
        self.wait_equal([left, right], ["other"])
        self.wait_for(lambda: server_state(left, "right")["last_error"], lambda error: error and "key" in error, "it says which table waits")
        self.assertEqual([(1, "a")], right.run("SELECT * FROM item"), "nothing of it was taken half")
        # The same key there: it goes on by itself, but for what was changed under the old key. That repair brings.
        right.run("CREATE TABLE wider (id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (id, name)); INSERT INTO wider SELECT * FROM item; "
                  "DROP TABLE item; ALTER TABLE wider RENAME TO item")
        self.wait_for(lambda: right.run("SELECT name FROM item WHERE id = 3"), lambda rows: rows == [("under the new key",)], "it goes on", 60)
        left.call("repair", "right", "item", "here")
        self.wait_equal([left, right])
