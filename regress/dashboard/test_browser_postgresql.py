"""The dashboard of a PostgreSQL node, used by a person with a browser."""
from browsing import BrowserTest


class BrowserAtPostgresql(BrowserTest):
    def test_a_person_with_a_browser_at_postgresql(self):
        self.browse("postgresql")
