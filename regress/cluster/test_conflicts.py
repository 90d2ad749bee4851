"""Several people change the same thing at once: every node decides alike, nothing is mixed and nothing vanishes unlisted."""
from harness import ClusterTest

SCHEMA = """CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE);
            CREATE TABLE pet (code TEXT PRIMARY KEY, owner INTEGER REFERENCES person (id));
            CREATE TABLE visit (id INTEGER PRIMARY KEY, guest INTEGER REFERENCES person (id), reason TEXT);
            CREATE TABLE page (id INTEGER PRIMARY KEY, under INTEGER REFERENCES page (id), title TEXT);
            CREATE TABLE line (person INTEGER REFERENCES person (id), number INTEGER, article TEXT, PRIMARY KEY (person, number));
            CREATE TABLE note (code TEXT PRIMARY KEY, title TEXT, body TEXT)"""


class Conflicts(ClusterTest):
    def setUp(self):
        super().setUp()
        self.one, self.two = self.postgres("one", SCHEMA), self.sqlite("two", SCHEMA)
        self.join([self.one, self.two], [(self.one, self.two)])

    def apart(self, on_one, on_two, decides=None):
        """Both write while nothing travels. `decides`: the node that hears of the other first, and lists what lost."""
        for node in (self.one, self.two):
            node.call("disable")
        for statement in on_one:
            self.one.run(statement)
        for statement in on_two:
            self.two.run(statement)
        for node in (self.two, self.one) if decides is self.two else (self.one, self.two):
            node.call("enable")
        self.wait_equal([self.one, self.two])

    def conflicts(self):
        return self.one.view("conflicts") + self.two.view("conflicts")

    def test_two_edits_of_one_column_end_equal_and_the_loser_is_listed(self):
        self.one.run("INSERT INTO note VALUES ('a', 'first', 'x')")
        self.wait_equal([self.one, self.two])
        self.apart(["UPDATE note SET title = 'from one'"], ["UPDATE note SET title = 'from two'"])
        self.assertIn(self.one.one("SELECT title FROM note"), ("from one", "from two"))
        self.wait_for(self.conflicts, lambda rows: "from one" in str(rows) or "from two" in str(rows), "the losing title is listed")

    def test_a_delete_beats_an_edit_and_the_edit_is_listed(self):
        self.one.run("INSERT INTO note VALUES ('a', 'first', 'x')")
        self.wait_equal([self.one, self.two])
        self.apart(["DELETE FROM note"], ["UPDATE note SET title = 'edited meanwhile'"])
        self.assertEqual([], self.two.run("SELECT * FROM note"))
        self.wait_for(self.conflicts, lambda rows: "edited meanwhile" in str(rows), "the lost edit is listed")

    def restored_on(self, node, lost):
        """Puts the conflict back whose key or losing image has this text, and returns what is said about it."""
        find = lambda: [row for row in node.view("conflicts") if lost in str(row["loser"]) + str(row["key"])]
        conflict = self.wait_for(find, bool, f"{lost} is listed on {node.name}")[0]
        node.call("restore", conflict["id"])
        return self.wait_for(lambda: find()[0]["restored"], bool, "it is said what came of it")

    def test_what_lost_is_restored_and_arrives_everywhere(self):
        for node, other in ((self.one, self.two), (self.two, self.one)):
            self.one.run("DELETE FROM note")
            self.wait_equal([self.one, self.two])
            self.one.run("INSERT INTO note VALUES ('a', 'first', 'x')")
            self.wait_equal([self.one, self.two])
            self.apart([f"UPDATE note SET title = '{node.name} by one'"], [f"UPDATE note SET title = '{node.name} by two'"], decides=node)
            kept = self.one.one("SELECT title FROM note")
            lost = f"{node.name} by {'two' if kept.endswith('one') else 'one'}"
            other.run("UPDATE note SET body = 'written since'")
            self.wait_equal([self.one, self.two])
            self.assertEqual('restored; it replaced {"title":"%s"}' % kept, self.restored_on(node, lost))
            self.wait_equal([self.one, self.two])
            self.assertEqual([("a", lost, "written since")], other.run("SELECT * FROM note"))

    def test_a_deleted_row_is_restored_with_all_its_values(self):
        for node, other in ((self.one, self.two), (self.two, self.one)):
            self.one.run("INSERT INTO note VALUES ('a', 'first', 'x')")
            self.wait_equal([self.one, self.two])
            edit = f"edited before {node.name} restored"
            self.apart(["DELETE FROM note"], [f"UPDATE note SET title = '{edit}'"], decides=node)
            self.assertEqual("restored as a new row", self.restored_on(node, edit))
            self.wait_equal([self.one, self.two])
            self.assertEqual([("a", edit, "x")], other.run("SELECT * FROM note"))
            other.run("DELETE FROM note")
            self.wait_equal([self.one, self.two])

    def test_a_row_that_stands_in_the_way_of_restoring_is_named(self):
        self.one.run("INSERT INTO person VALUES (1, 'Ada', 'a@b.c')")
        self.one.run("INSERT INTO pet VALUES ('cat', 1)")
        self.wait_equal([self.one, self.two])
        self.apart(["DELETE FROM pet", "DELETE FROM person"],
                   ["UPDATE person SET name = 'Ada L'", "UPDATE pet SET owner = NULL", "UPDATE pet SET owner = 1"], decides=self.two)
        self.assertEqual("not restored: it refers to row 1 of person, which is gone; restore that one first", self.restored_on(self.two, "cat"))
        self.one.run("INSERT INTO person VALUES (1, 'Bo', 'bo@b.c'), (2, 'Cy', 'a@b.c')")
        self.wait_equal([self.one, self.two])
        self.assertRegex(self.restored_on(self.two, "Ada L"), "^not restored: another row has the number 1 by now")
        self.one.run("DELETE FROM person WHERE id = 1")
        self.wait_equal([self.one, self.two])
        self.assertRegex(self.restored_on(self.two, "Ada L"), "^not restored: another row has one of its values that must be unique")
        self.assertEqual([(2, "Cy", "a@b.c")], self.two.run("SELECT * FROM person"))
        self.assertEqual([], self.two.view("quarantine"))
        self.one.run("DELETE FROM person")
        self.wait_equal([self.one, self.two])
        self.assertEqual("restored as a new row", self.restored_on(self.two, "Ada L"))
        self.assertEqual("restored as a new row", self.restored_on(self.two, "cat"))
        self.wait_equal([self.one, self.two])
        self.assertEqual([(1, "Ada L", "a@b.c")], self.one.run("SELECT * FROM person"))
        self.assertEqual([("cat", 1)], self.one.run("SELECT * FROM pet"))

    def test_what_is_not_lost_is_not_restored(self):
        self.apart(["INSERT INTO person VALUES (1, 'Ada', 'a@b.c')"], ["INSERT INTO person VALUES (2, 'Bo', 'a@b.c')"])
        for node in (self.one, self.two):
            with self.assert_says("comes back by itself"):
                node.call("restore", self.wait_for(lambda: node.view("conflicts"), bool, "the hidden row is listed")[0]["id"])
            with self.assert_says("there is no conflict 4711"):
                node.call("restore", 4711)

    def test_two_new_rows_with_one_unique_value_one_shows_and_the_other_waits(self):
        self.apart(["INSERT INTO person VALUES (1, 'Ada', 'a@b.c')"], ["INSERT INTO person VALUES (2, 'Bo', 'a@b.c')"])
        shown = self.one.run("SELECT id FROM person")
        self.assertEqual(1, len(shown))
        # The value becomes free: the hidden row comes back by itself.
        self.one.run(f"UPDATE person SET email = 'other@b.c' WHERE id = {shown[0][0]}")
        self.wait_for(lambda: self.one.one("SELECT count(*) FROM person"), lambda count: count == 2, "the hidden row is back on one")
        self.wait_equal([self.one, self.two])

    def test_two_new_rows_under_one_number_are_never_mixed_and_none_vanishes(self):
        self.apart(["INSERT INTO person (id, name) VALUES (7, 'Ada of one')"], ["INSERT INTO person (id, name) VALUES (7, 'Bo of two')"])
        self.assertIn(self.one.one("SELECT name FROM person WHERE id = 7"), ("Ada of one", "Bo of two"))
        everything = str([node.run("SELECT * FROM person") for node in (self.one, self.two)]) + str(self.conflicts()) + \
            str([node.view("quarantine") + node.view("tables") for node in (self.one, self.two)])
        self.assertIn("Ada of one", everything)
        self.assertIn("Bo of two", everything)

    def test_the_younger_of_two_rows_under_one_number_moves_with_what_refers_to_it(self):
        self.apart(["INSERT INTO person (id, name) VALUES (7, 'Ada of one')", "INSERT INTO pet VALUES ('cat of one', 7)"],
                   ["INSERT INTO person (id, name) VALUES (7, 'Bo of two')", "INSERT INTO pet VALUES ('dog of two', 7)"])
        owners = "SELECT pet.code, person.name FROM pet JOIN person ON person.id = pet.owner ORDER BY pet.code"
        for node in (self.one, self.two):
            self.wait_for(lambda: [tuple(row) for row in node.run(owners)],
                          lambda rows: rows == [("cat of one", "Ada of one"), ("dog of two", "Bo of two")], "each pet has its owner")
        self.wait_equal([self.one, self.two])
        self.assertEqual(2, self.one.one("SELECT count(*) FROM person"))
        self.assertIn("renumbered", str(self.conflicts()))

    def test_what_refers_to_a_row_stays_with_it_also_where_it_has_a_number_itself(self):
        """Symptom: of two servers that had both written people and their visits while apart, the visits of the one's people ended at the other's.
        Mechanism: the visits had colliding numbers as well, and moved before their references did. Mend: what a reference means goes along."""
        self.apart(*[[f"INSERT INTO person (id, name) VALUES (1, 'of {name}')",
                      f"INSERT INTO visit VALUES (1, 1, 'visit of {name}')", f"INSERT INTO visit VALUES (2, 1, 'again of {name}')",
                      f"INSERT INTO page VALUES (1, NULL, 'root of {name}')", f"INSERT INTO page VALUES (2, 1, 'below of {name}')",
                      f"INSERT INTO line VALUES (1, 1, 'article of {name}')"] for name in ("one", "two")])
        pairs = ["SELECT visit.reason, person.name FROM visit JOIN person ON person.id = visit.guest",
                 "SELECT page.title, up.title FROM page JOIN page up ON up.id = page.under",
                 "SELECT line.article, person.name FROM line JOIN person ON person.id = line.person"]
        expected = [sorted((f"{what} of {name}", f"{whose}of {name}") for what in whats for name in ("one", "two"))
                    for whats, whose in ((("visit", "again"), ""), (("below",), "root "), (("article",), ""))]
        for node in (self.one, self.two):
            self.wait_for(lambda: [sorted(tuple(row) for row in node.run(sql)) for sql in pairs], lambda found: found == expected,
                          f"on {node.name} each row is where its writer put it")
        self.wait_equal([self.one, self.two])

    def test_two_notes_under_one_natural_key_become_one(self):
        self.apart(["INSERT INTO note (code, title) VALUES ('k', 'from one')"], ["INSERT INTO note (code, body) VALUES ('k', 'from two')"])
        self.assertEqual(1, self.two.one("SELECT count(*) FROM note"))

    def test_a_deleted_row_that_is_written_again_stays(self):
        self.one.run("INSERT INTO note VALUES ('a', 'first', 'x')")
        self.wait_equal([self.one, self.two])
        self.apart(["DELETE FROM note", "INSERT INTO note VALUES ('a', 'second life', 'y')"], ["UPDATE note SET body = 'edit of the first life'"])
        self.assertEqual([("a", "second life", "y")], self.two.run("SELECT * FROM note"))
