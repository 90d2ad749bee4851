"""Every type there and back: PostgreSQL -> SQLite -> PostgreSQL and SQLite -> PostgreSQL -> SQLite, equal to the byte, whatever the settings of
the sessions. What an engine cannot hold waits in quarantine with a sentence."""
import os
import unittest.mock

from harness import ClusterTest

# type -> (declared in SQLite, values as PostgreSQL literals)
MATRIX = {
    "smallint": ("SMALLINT", ["-32768", "0", "32767"]),
    "integer": ("INTEGER", ["-2147483648", "2147483647"]),
    "bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    "real": ("REAL", ["0.1", "3.4028235e38", "1e-45", "Infinity", "-Infinity", "16777216"]),
    "double precision": ("DOUBLE PRECISION", ["0.1", "0.30000000000000004", "1.7976931348623157e308", "5e-324", "Infinity", "-Infinity", "1e15", "123456789012345680"]),
    "numeric": ("TEXT", ["0", "1.10", "0.1", "-0.000", "12345678901234567890.123456789", "1e-30", "NaN", "Infinity", "9" * 200, "100", "1.5", "9007199254740993"]),
    "numeric(12,2)": ("DECIMAL(12,2)", ["0.00", "1.10", "-3.50", "9999999999.99", "5.00"]),
    "boolean": ("BOOLEAN", ["true", "false"]),
    "text": ("TEXT", ["", " ", "plain", "quote ' and \" and \\", "line\nfeed\ttab", "emoji \U0001F600 ß \u2028", "0", "1.0", "NULL", "x" * 100000]),
    "varchar(40)": ("VARCHAR(40)", ["", "short", "trailing  "]),
    "char(5)": ("CHAR(5)", ["ab", "abcde", ""]),
    "bytea": ("BLOB", ["\\x", "\\x00", "\\x00ff10", "\\x" + "ab" * 5000]),
    "date": ("DATE", ["2026-01-31", "0001-01-01", "9999-12-31", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"]),
    "time": ("TIME", ["00:00:00", "23:59:59.999999", "24:00:00", "12:00:00.1"]),
    "time with time zone": ("TEXT", ["12:00:00+05:30", "00:00:00.000001-12"]),
    "timestamp": ("TIMESTAMP", ["2026-01-31 12:00:00", "2026-01-31 12:00:00.123456", "2026-01-31 12:00:00.1", "0001-01-01 00:00:00", "infinity", "-infinity",
                                "0044-03-15 12:00:00 BC", "294276-12-31 23:59:59.999999"]),
    "timestamp with time zone": ("TIMESTAMPTZ", ["2026-01-31 12:00:00+00", "2026-03-29 02:30:00+02", "2026-01-31 12:00:00.000001-08", "infinity", "-infinity", "0044-03-15 12:00:00+00 BC"]),
    "interval": ("TEXT", ["1 year 2 mons 3 days 04:05:06.789", "-1 days +02:00:00", "00:00:00", "-1 mons"]),
    "uuid": ("TEXT", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    "json": ("TEXT", ['{"b": 1,  "a": [1, 2.50, null]}', '"text"', "[]", "1e400"]),
    "jsonb": ("TEXT", ['{"b": 1, "a": [1, 2.50, null], "u": "\\u00e9"}', '"text"', "12345678901234567890"]),
    "integer[]": ("TEXT", ["{}", "{1,2,NULL}", "{{1,2},{3,4}}", "[0:1]={1,2}"]),
    "text[]": ("TEXT", ['{"a b","c,d","NULL",NULL,""}']),
    "timestamptz[]": ("TEXT", ['{"2026-01-31 12:00:00+00"}']),
    "int4range": ("TEXT", ["empty", "[1,5)", "(,)"]),
    "tstzrange": ("TEXT", ['["2026-01-31 12:00:00+00",)']),
    "inet": ("TEXT", ["10.0.0.1", "10.0.0.0/8", "::1/128"]),
    "cidr": ("TEXT", ["10.0.0.0/8"]),
    "macaddr": ("TEXT", ["08:00:2b:01:02:03"]),
    "bit(3)": ("TEXT", ["101"]),
    "bit varying": ("TEXT", ["", "1", "0101010101"]),
    "money": ("TEXT", ["$1,234.50", "-$0.01"]),
    "point": ("TEXT", ["(0.1,-2)"]),
    "tsvector": ("TEXT", ["'a':1 'b':2"]),
    "xml": ("TEXT", ["<a>b</a>"]),
    "mood": ("TEXT", ["happy", "it's so so"]),
    "positive": ("INTEGER", ["1", "2000000000"]),
    "place": ("TEXT", ["(Berlin,10115)", '("a ""b"", c",)']),
}
HOSTILE = ["DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "extra_float_digits = -15", "bytea_output = 'escape'", "TimeZone = 'America/Los_Angeles'",
           "xmlbinary = 'hex'", "standard_conforming_strings = off", "array_nulls = off"]
TYPES = "CREATE TYPE mood AS ENUM ('happy', 'it''s so so'); CREATE DOMAIN positive AS integer CHECK (value > 0); CREATE TYPE place AS (city text, zip text);"


def rows_of(matrix):
    return max(len(values) for _, values in matrix.values())


class Types(ClusterTest):
    def pg_schema(self):
        return TYPES + "CREATE TABLE item (id integer PRIMARY KEY, " + ", ".join(f"c{i} {name}" for i, name in enumerate(MATRIX)) + ")"

    def sqlite_schema(self):
        return "CREATE TABLE item (id INTEGER PRIMARY KEY, " + ", ".join(f"c{i} {declared}" for i, (declared, _) in enumerate(MATRIX.values())) + ")"

    def hostile(self, node):
        for setting in HOSTILE:
            node.run(f"ALTER DATABASE {node.database} SET {setting}")
        node.run("ALTER ROLE postgres SET DateStyle = 'German'")
        node.disconnect()

    def texts(self, node):
        """As PostgreSQL spells it under plain settings, apart from the session's own."""
        connection = node.connect()
        cursor = connection.cursor()
        cursor.execute("SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET TimeZone = 'UTC'")
        cursor.execute("SELECT id, " + ", ".join(f"c{i}::text" for i in range(len(MATRIX))) + " FROM item ORDER BY id")
        rows = cursor.fetchall()
        connection.close()
        return rows

    def fill(self, node):
        with unittest.mock.patch.dict(os.environ, PGOPTIONS="-c standard_conforming_strings=on"):   # the driver looks at it when it connects
            connection = node.connect()
        cursor = connection.cursor()
        cursor.execute("SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SET lc_monetary = 'C'; SET array_nulls = on")
        for row in range(rows_of(MATRIX) + 1):   # the last one is of NULLs
            values = [values[row] if row < len(values) else None for _, values in MATRIX.values()]
            cursor.execute("INSERT INTO item VALUES (%s, " + ", ".join(f"%s::text::{name}" if name != "char(5)" else "%s" for name in MATRIX) + ")", [row + 1, *values])
        connection.close()

    def test_from_postgresql_to_sqlite_and_back(self):
        for hostile in (False, True):
            with self.subTest(hostile=hostile):
                first, last = self.postgres("first", self.pg_schema()), self.postgres("last", self.pg_schema())
                middle = self.sqlite("middle", self.sqlite_schema())
                if hostile:
                    self.hostile(first)
                    self.hostile(last)
                self.join([first, middle, last], [(first, middle), (middle, last)])
                self.fill(first)
                expected = self.texts(first)
                self.wait_for(lambda: last.one("SELECT count(*) FROM item") + len(last.view("quarantine")) + len(middle.view("quarantine")),
                              lambda count: count >= len(expected), "all rows arrive", 60)
                self.assert_quiet([first, middle, last])
                self.compare(expected, self.texts(last))
                # Six digits or none: Python's parsers take '12:00:00.1' for one microsecond.
                time = f"c{list(MATRIX).index('time')}"
                self.assertEqual(["00:00:00", "23:59:59.999999", "24:00:00", "12:00:00.100000"],
                                 [text for (text,) in middle.run(f"SELECT {time} FROM item WHERE {time} IS NOT NULL ORDER BY id")])
                # and back: another column changes in the middle, so that every row travels from there
                middle.run("UPDATE item SET c2 = 7")
                self.wait_for(lambda: first.one("SELECT count(*) FROM item WHERE c2 = 7"), lambda count: count == len(expected), "the way back", 60)
                self.compare([row[:3] + ("7",) + row[4:] for row in expected], self.texts(first))
                self.assert_quiet([first, middle, last])

    def compare(self, expected, found):
        names = ["id", *MATRIX]
        odd = [(names[i], left[i], right[i]) for left, right in zip(expected, found) for i in range(len(left)) if left[i] != right[i]]
        self.assertEqual([], [(name, str(left)[:60], str(right)[:60]) for name, left, right in odd])
        self.assertEqual(len(expected), len(found))

    def test_from_sqlite_to_postgresql_and_back(self):
        columns = {   # declared in SQLite -> (PostgreSQL type, values)
            "INTEGER": ("bigint", [0, -1, 2 ** 63 - 1, -2 ** 63]),
            "REAL": ("double precision", [0.1, 1e308, 5e-324, float("inf"), float("-inf"), 1.0, 1e15 + 0.3]),
            "TEXT": ("text", ["", "0", "1.0", "emoji \U0001F600", "line\nfeed", "x" * 5000]),
            "BLOB": ("bytea", [b"", b"\x00", b"\xff\x00" * 900]),
            "BOOLEAN": ("boolean", [0, 1]),
            "NUMERIC": ("numeric", [0, 1, 0.5, 1.25, "12345678901234567890.5", 10 ** 15]),
            "DECIMAL(10,2)": ("numeric(10,2)", [0, 1.5, 3, 2.25]),
            "DATE": ("date", ["2026-01-31", "0001-01-01"]),
            "TIME": ("time", ["12:00:00", "23:59:59.999999", "12:00:00.100000", "00:00:00.000010"]),
            "DATETIME": ("timestamp", ["2026-01-31 12:00:00.000000", "2026-01-31 12:00:00.123456"]),
            "VARCHAR(20)": ("varchar(20)", ["short", ""]),
            "JSON": ("json", ['{"b": 1,  "a": 2}', "[]"]),
        }
        sqlite = "CREATE TABLE item (id INTEGER PRIMARY KEY, " + ", ".join(f"c{i} {name}" for i, name in enumerate(columns)) + ")"
        postgres = "CREATE TABLE item (id bigint PRIMARY KEY, " + ", ".join(f"c{i} {name}" for i, (name, _) in enumerate(columns.values())) + ")"
        first, last, middle = self.sqlite("first", sqlite), self.sqlite("last", sqlite), self.postgres("middle", postgres)
        self.hostile(middle)
        self.join([first, middle, last], [(first, middle), (middle, last)])
        count = rows_of(columns)
        for row in range(count + 1):
            values = [values[row] if row < len(values) else None for _, values in columns.values()]
            first.run(f"INSERT INTO item VALUES ({', '.join('?' * (len(values) + 1))})", row + 1, *values)
        self.wait_for(lambda: last.one("SELECT count(*) FROM item") + len(last.view("quarantine")) + len(middle.view("quarantine")),
                      lambda found: found == count + 1, "all rows arrive", 60)
        self.assert_quiet([first, middle, last])
        shown = "SELECT id, " + ", ".join(f"typeof(c{i}), quote(c{i})" for i in range(len(columns))) + " FROM item ORDER BY id"
        self.assertEqual(first.run(shown), last.run(shown))

    def test_what_sqlite_cannot_hold_waits_with_a_sentence(self):
        left = self.postgres("left", "CREATE TABLE item (id integer PRIMARY KEY, real double precision, number numeric, document json)")
        right = self.sqlite("right", "CREATE TABLE item (id INTEGER PRIMARY KEY, real DOUBLE, number NUMERIC, document JSON)")
        self.join([left, right], [(left, right)])
        bad = {1: ("real", "'NaN'"), 2: ("number", "12345678901234567890.123456789"), 3: ("number", "9" * 200), 4: ("document", "'1e400'")}
        for id, (column, value) in bad.items():
            left.run(f"INSERT INTO item (id, {column}) VALUES ({id}, {value})")
        left.run("INSERT INTO item VALUES (100, 1.5, 1.25, '[1]')")
        self.wait_for(lambda: right.run("SELECT id FROM item"), lambda rows: rows == [(100,)], "the good row arrives")
        waiting = self.wait_for(lambda: right.view("quarantine"), lambda rows: len(rows) == len(bad), "the others wait")
        for row in waiting:
            self.assertIn("SQLite", row["reason"])
        left.run("UPDATE item SET real = 0.5, number = 2, document = '{}'")
        self.wait_equal([left, right])
        self.assertEqual([], right.view("quarantine"))

    def test_what_cannot_be_held_waits_with_a_sentence(self):
        sqlite = "CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER, day DATE, price DECIMAL(5,2), name TEXT, short VARCHAR(3), flag BOOLEAN)"
        postgres = "CREATE TABLE item (id bigint PRIMARY KEY, number integer, day date, price numeric(5,2), name text, short varchar(3), flag boolean)"
        left, right = self.sqlite("left", sqlite), self.postgres("right", postgres)
        self.join([left, right], [(left, right)])
        bad = {1: ("number", "'no number'"), 2: ("number", "5000000000"), 3: ("day", "'2026-02-30'"), 4: ("price", "12345.678"), 5: ("name", "'nul' || char(0) || 'in it'"),
               6: ("short", "'too long'"), 7: ("name", "CAST(x'ff' AS TEXT)"), 8: ("number", "x'00'"), 9: ("flag", "2")}
        for id, (column, value) in bad.items():
            left.run(f"INSERT INTO item (id, {column}) VALUES ({id}, {value})")
        left.run("INSERT INTO item (id, number) VALUES (100, 1)")
        self.wait_for(lambda: right.run("SELECT id FROM item"), lambda rows: rows == [(100,)], "the good row arrives")
        waiting = self.wait_for(lambda: right.view("quarantine"), lambda rows: len(rows) == len(bad), "the others wait")
        for row in waiting:
            self.assertGreater(len(row["reason"]), 15, row)
            self.assertTrue(row["payload"], row)
        left.run("UPDATE item SET number = 3, day = NULL, price = NULL, name = NULL, short = NULL, flag = NULL")
        self.wait_equal([left, right])
        self.assertEqual([], right.view("quarantine"))
