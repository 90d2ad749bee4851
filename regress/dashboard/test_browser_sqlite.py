"""The dashboard of a SQLite node, used by a person with a browser."""
from browsing import BrowserTest


class BrowserAtSqlite(BrowserTest):
    def test_a_person_with_a_browser_at_sqlite(self):
        self.browse("sqlite")
