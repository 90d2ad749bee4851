"""docs/sql.md lists what both engines have, and nothing else."""
import re

import places
from harness import ClusterTest

PAGE = places.TOP / "docs/sql.md"


def documented():
    """heading -> names in the first column of its table"""
    names, heading = {}, ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| `"):
            cells = line.split("|")[1]
            names.setdefault(heading, set()).update(name.removeprefix("rowmesh_") for name in re.findall(r"`(\w+)", cells))
    return names


def wanted_of(engine):
    other = {"postgresql": "SQLite only", "sqlite": "PostgreSQL only"}[engine]
    return {name for heading, names in documented().items() if heading != other for name in names} - SQLITE_TABLE_CALLS[engine]


# Marked in the text as SQLite's.
SQLITE_TABLE_CALLS = {"postgresql": {"suspend_table", "resume_table"}, "sqlite": set()}


class SqlReference(ClusterTest):
    def test_postgresql_has_what_the_page_lists(self):
        node = self.postgres("node")
        callable_by_admin = {row[0] for row in node.run(
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'rowmesh'::regnamespace AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) "
            "AND has_function_privilege('rowmesh_admin', p.oid, 'EXECUTE')")}
        views = {row[0] for row in node.run("SELECT relname FROM pg_class WHERE relnamespace = 'rowmesh'::regnamespace AND relkind = 'v'")}
        self.assertEqual(set(), wanted_of("postgresql") - callable_by_admin - views)
        said = PAGE.read_text()
        self.assertEqual(set(), {view for view in views if f"`{view}`" not in said})

    def test_sqlite_has_what_the_page_lists(self):
        node = self.sqlite("node")
        known = {row[0].removeprefix("rowmesh_") for row in node.ask("SELECT name FROM pragma_function_list WHERE name LIKE 'rowmesh#_%' ESCAPE '#'")}
        tables = {row[0].removeprefix("rowmesh_") for row in node.ask("SELECT name FROM pragma_module_list WHERE name LIKE 'rowmesh#_%' ESCAPE '#'")}
        self.assertEqual(set(), wanted_of("sqlite") - known - tables)
        self.assertEqual(set(), known - wanted_of("sqlite"))
