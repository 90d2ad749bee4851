"""A whole music shop: SQLite -> PostgreSQL -> another SQLite file, equal; then everybody writes, equal again."""
import pathlib
import random
import re
import threading
import unittest

from compare import differences, row_count, table_names
from harness import ClusterTest
from nodes import link_all, wait_linked
from places import TOP

HERE = pathlib.Path(__file__).resolve().parent
DATA = TOP.parent / "shared" / "data" / "chinook" / "Chinook_Sqlite_AutoIncrementPKs.sql"
WRITES = 2000


def sqlite_script():
    return DATA.read_text(encoding="utf-8-sig")


def sqlite_tables():
    return "\n".join(re.findall(r"^CREATE (?:TABLE|INDEX|UNIQUE INDEX) .*?;", sqlite_script(), re.M | re.S))


class RandomShop:
    """A shop at work. New rows take numbers from a range of its own: sites that number alike have a test of their own."""

    def __init__(self, node, seed):
        self.node, self.random = node, random.Random(seed)
        self.next_id = 100000 * (seed + 1)
        self.connection = node.connect()
        self.error = None

    def run(self):
        try:
            for _ in range(WRITES):
                sql, args = self.random.choice([self.sale, self.line, self.rename, self.price, self.move, self.unlist, self.list_track])()
                cursor = self.connection.cursor()
                cursor.execute(sql.replace("?", "%s") if self.node.engine == "postgresql" else sql, args)
                cursor.close()
        except Exception as error:
            self.error = error
        finally:
            self.connection.close()

    def id(self):
        self.next_id += 1
        return self.next_id

    def sale(self):
        return ('INSERT INTO "Invoice" ("InvoiceId", "CustomerId", "InvoiceDate", "BillingCity", "Total") VALUES (?, ?, ?, ?, ?)',
                (self.id(), self.random.randint(1, 59), "2026-03-29 01:30:00", "Zürich “Süd”", self.random.randint(1, 3000) / 100))

    def line(self):
        return ('INSERT INTO "InvoiceLine" ("InvoiceLineId", "InvoiceId", "TrackId", "UnitPrice", "Quantity") VALUES (?, ?, ?, ?, ?)',
                (self.id(), self.random.randint(1, 412), self.random.randint(1, 3503), 0.99, 1))

    def rename(self):
        return 'UPDATE "Track" SET "Name" = ? WHERE "TrackId" = ?', (f"Take {self.random.random()}", self.random.randint(1, 3503))

    def price(self):
        return 'UPDATE "Track" SET "UnitPrice" = ? WHERE "TrackId" = ?', (self.random.randint(1, 500) / 100, self.random.randint(1, 3503))

    def move(self):
        return 'UPDATE "Customer" SET "City" = ?, "Fax" = NULL WHERE "CustomerId" = ?', (f"Town {self.random.random()}", self.random.randint(1, 59))

    def unlist(self):
        return 'DELETE FROM "PlaylistTrack" WHERE "PlaylistId" = ? AND "TrackId" = ?', (self.random.choice([1, 8]), self.random.randint(1, 3503))

    def list_track(self):
        return ('INSERT INTO "PlaylistTrack" ("PlaylistId", "TrackId") VALUES (?, ?) ON CONFLICT DO NOTHING',
                (self.random.randint(1, 18), self.random.randint(1, 3503)))


@unittest.skipUnless(DATA.exists(), "the Chinook data is not beside this repository (../shared/data/chinook)")
class Chinook(ClusterTest):
    def test_a_music_shop_goes_from_sqlite_to_postgresql_to_sqlite_and_stays_equal_while_all_write(self):
        shop = self.sqlite("shop", "BEGIN;" + sqlite_script() + "COMMIT;")
        office = self.postgres("office", (HERE / "chinook_postgresql.sql").read_text())
        branch = self.sqlite("branch", sqlite_tables())
        nodes = [shop, office, branch]
        for node in (shop, branch):
            node.call("config", "datetime_fraction", "nonzero")
        for node in nodes:
            node.call("add_table", "*")
        link_all([(shop, office), (office, branch)])
        wait_linked([(shop, office), (office, branch)])

        shop.call("copy", "office")
        self.wait_equal([shop, office])
        self.assertEqual(15607, row_count([office]))
        office.call("copy", "branch")
        self.wait_equal([shop, branch])   # two files: equal to the byte
        self.assertEqual(11, len(table_names(branch)))
        wait_linked([(shop, office), (office, branch)])

        link_all([(shop, branch)])
        wait_linked([(shop, branch)])
        workers = [RandomShop(node, seed) for seed, node in enumerate(nodes)]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([None] * 3, [worker.error for worker in workers])
        self.wait_equal(nodes, timeout_s=90)
        self.assertEqual([], differences(nodes))
        for node in nodes:
            self.assertEqual([], node.view("quarantine"))
