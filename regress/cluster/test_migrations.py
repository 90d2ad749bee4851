"""Migrations of real ORMs, which rebuild SQLite tables behind everybody's back: triggers come back, and what was written in between is told."""
import contextlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import textwrap

from harness import ClusterTest

DJANGO = """
import os, sys, django
from django.conf import settings
from django.core.management import call_command
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "OPTIONS": {"timeout": 30}}},
                   INSTALLED_APPS=["notes"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True)
django.setup()
call_command("migrate", "notes", sys.argv[2], verbosity=0)
"""
DJANGO_MIGRATIONS = {
    "0001_first": """
        initial = True
        dependencies = []
        operations = [migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True)), ("title", models.CharField(max_length=40)),
                                                      ("body", models.TextField(null=True)), ("done", models.BooleanField(default=False))])]""",
    "0002_add": """
        dependencies = [("notes", "0001_first")]
        operations = [migrations.AddField("Note", "stars", models.IntegerField(default=0))]""",
    "0003_alter": """
        dependencies = [("notes", "0002_add")]
        operations = [migrations.RenameField("Note", "title", "heading"), migrations.AlterField("Note", "heading", models.CharField(max_length=400, default=""))]""",
    "0004_drop": """
        dependencies = [("notes", "0003_alter")]
        operations = [migrations.RemoveField("Note", "body")]""",
}
ALEMBIC = """
import sys, sqlalchemy
from alembic.migration import MigrationContext
from alembic.operations import Operations
engine = sqlalchemy.create_engine("sqlite:///" + sys.argv[1], connect_args={"timeout": 30})
with engine.begin() as connection:
    op = Operations(MigrationContext.configure(connection))
    with op.batch_alter_table("note") as batch:
        if sys.argv[2] == "widen":
            batch.add_column(sqlalchemy.Column("stars", sqlalchemy.Integer, nullable=False, server_default="0"))
            batch.alter_column("title", new_column_name="heading", existing_type=sqlalchemy.Text())
        else:
            batch.drop_column("body")
"""


class Migrations(ClusterTest):
    def program(self, text, *arguments, path=None):
        environment = {**os.environ, "PYTHONPATH": str(path or "")}
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(0, done.returncode, done.stderr[-3000:])

    def need_package(self, module, package):
        if importlib.util.find_spec(module) is None:
            self.skipTest(f"{package} is not installed and could not be fetched")

    def django(self, node, migration):
        folder = pathlib.Path(node.folder) / "django"
        package = folder / "notes" / "migrations"
        package.mkdir(parents=True, exist_ok=True)
        for place in (package, package.parent):
            (place / "__init__.py").write_text("")
        (package.parent / "models.py").write_text("")
        for name, body in DJANGO_MIGRATIONS.items():
            (package / f"{name}.py").write_text("from django.db import migrations, models\nclass Migration(migrations.Migration):" + textwrap.indent(textwrap.dedent(body), "    "))
        self.program(DJANGO, node.file, migration, path=folder)

    def wait_rows(self, node, sql, *rows):
        self.wait_for(lambda: self.tried(node, sql), lambda found: found == list(rows), f"{node.name}: {sql} gives {rows}", 60)

    def tried(self, node, sql):
        with contextlib.suppress(Exception):   # a column that is not there yet
            return node.run(sql)
        return None

    def triggers(self, node, table):
        return node.one("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name LIKE 'rowmesh%'", table)

    def test_django_migrates_both_files_one_after_the_other(self):
        self.need_package("django", "python3-django")
        left, right = self.sqlite("left"), self.sqlite("right")
        for node in (left, right):
            self.django(node, "0001_first")
        self.join([left, right], [(left, right)])
        left.run("INSERT INTO notes_note (id, title, body, done) VALUES (1, 'one', 'a', 0), (2, 'two', 'b', 0)")
        self.wait_rows(right, "SELECT title FROM notes_note ORDER BY id", ("one",), ("two",))
        changes = ["stars = 5", "heading = 'long heading'", "stars = stars + 1"]
        for migration, change in zip(list(DJANGO_MIGRATIONS)[1:], changes):
            with self.subTest(migration):
                self.django(left, migration)
                self.wait_for(lambda: self.triggers(left, "notes_note"), lambda count: count > 2, "the triggers are back")
                left.run(f"UPDATE notes_note SET {change} WHERE id = 1")
                right.run("UPDATE notes_note SET done = 1 - done WHERE id = 2")
                self.django(right, migration)   # finds by its own notes that it is not done here
                self.wait_equal([left, right], ["notes_note"])
        self.assertEqual((1, "long heading", 0, 6), left.run("SELECT id, heading, done, stars FROM notes_note WHERE id = 1")[0])
        self.assert_quiet([left, right])
        for node in (left, right):
            self.assertEqual(list(DJANGO_MIGRATIONS), [row[0] for row in node.run("SELECT name FROM django_migrations WHERE app = 'notes' ORDER BY id")])

    def test_alembic_rebuilds_a_table_in_batch_mode(self):
        self.need_package("alembic", "python3-alembic")
        schema = "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT, body TEXT)"
        left, right = self.sqlite("left", schema), self.postgres("right", schema)
        self.join([left, right], [(left, right)])
        left.run("INSERT INTO note VALUES (1, 'one', 'a'), (2, 'two', 'b')")
        self.wait_rows(right, "SELECT title FROM note ORDER BY id", ("one",), ("two",))
        self.program(ALEMBIC, left.file, "widen")
        self.wait_for(lambda: self.triggers(left, "note"), lambda count: count > 2, "the triggers are back")
        left.run("UPDATE note SET stars = 5, heading = 'uno' WHERE id = 1")
        right.run("UPDATE note SET body = 'from right' WHERE id = 2")
        right.run("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 0; ALTER TABLE note RENAME COLUMN title TO heading")
        self.wait_rows(right, "SELECT id, heading, body, stars FROM note ORDER BY id", (1, "uno", "a", 5), (2, "two", "from right", 0))
        self.wait_equal([left, right])
        self.program(ALEMBIC, left.file, "drop")
        self.wait_for(lambda: self.triggers(left, "note"), lambda count: count > 2, "the triggers are back")
        left.run("UPDATE note SET stars = 6 WHERE id = 1")
        self.wait_rows(right, "SELECT stars, body FROM note WHERE id = 1", (6, "a"))
        right.run("ALTER TABLE note DROP COLUMN body")
        self.wait_equal([left, right])

    def test_star_leaves_out_what_migration_tools_note(self):
        node = self.postgres("one", "CREATE TABLE item (id integer PRIMARY KEY); CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
        node.call("add_table", "*")
        self.assertEqual(["item"], [row["name"] for row in node.view("tables")])
        node.call("add_table", "alembic_version")
        self.assertEqual({"item", "alembic_version"}, {row["name"] for row in node.view("tables")}, "who names it wants it")

    def test_what_is_written_between_a_rebuild_and_the_next_look_is_found_and_repaired(self):
        schema = "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)"
        left, right = self.sqlite("left", schema), self.sqlite("right", schema)
        self.join([left, right], [(left, right)])
        left.run("INSERT INTO note VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        self.wait_equal([left, right])
        left.stop()
        left.run("CREATE TABLE note_new (id INTEGER PRIMARY KEY, title TEXT); INSERT INTO note_new SELECT * FROM note; DROP TABLE note; "
                 "ALTER TABLE note_new RENAME TO note; UPDATE note SET title = 'uncaptured' WHERE id = 1; DELETE FROM note WHERE id = 2; "
                 "INSERT INTO note VALUES (4, 'four')")
        left.start()
        self.wait_for(lambda: self.triggers(left, "note"), lambda count: count > 2, "the triggers are back")
        left.call("verify", "right", table="note")
        said = self.wait_for(lambda: str(left.view("status")), lambda text: "rows compared," in text and "verified" in text, "status says what was found", 60)
        self.assertIn("1 differ, 1 only there, 1 only here", said)
        left.call("repair", "right", table="note", winner="here")
        self.wait_equal([left, right])
        self.assertEqual([(1, "uncaptured"), (3, "three"), (4, "four")], right.run("SELECT * FROM note ORDER BY id"))
