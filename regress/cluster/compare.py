"""Compares databases row by row. Uses no rowmesh code: what rowmesh believes to be equal is not asked.

Two SQLite files must be equal to the byte, storage classes included. A PostgreSQL table and a SQLite table are compared by the
meaning that the PostgreSQL column's type gives to both values.
"""
import datetime
import decimal
import json
import sqlite3

SQLITE, POSTGRESQL = "sqlite", "postgresql"


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def table_names(node):
    if node.engine == SQLITE:
        rows = node.run("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite#_%' ESCAPE '#' "
                        "AND name NOT LIKE '%rowmesh%' ORDER BY name")
    else:
        rows = node.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return [row[0] for row in rows]


def columns_of(node, table):
    """name -> declared type, in order; and the names of the key's columns."""
    if node.engine == SQLITE:
        info = node.run(f"PRAGMA table_info({quoted(table)})")
        return {row[1]: row[2] for row in info}, [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
    types = node.run("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = ?::regclass AND attnum > 0 "
                     "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum", quoted(table))
    key = node.run("SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey::int[]) WITH ORDINALITY k(attnum, place) "
                   "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
                   "WHERE i.indrelid = ?::regclass AND i.indisprimary ORDER BY k.place", quoted(table))
    return dict(types), [row[0] for row in key]


# ---- meaning of a value under a PostgreSQL type

def _number(value):
    number = decimal.Decimal(repr(value) if isinstance(value, float) else str(value))
    return number.normalize() + 0 if number.is_finite() else str(number)


def _moment(value):
    text = str(value).replace("T", " ").removesuffix("Z").removesuffix("+00")
    try:
        return datetime.datetime.fromisoformat(_six_digits(text))
    except ValueError:
        return text   # infinity, years that Python cannot hold


def _six_digits(text):
    whole, point, fraction = text.partition(".")
    return f"{whole}.{(fraction + '000000')[:6]}" if point else text


def _json(value):
    return json.dumps(json.loads(value), sort_keys=True)


MEANING = {
    "boolean": lambda value: {"true": 1, "false": 0, "t": 1, "f": 0}.get(value, value),
    "smallint": int, "integer": int, "bigint": int,
    "numeric": _number,
    "real": float, "double precision": float,
    "timestamp without time zone": _moment, "timestamp with time zone": _moment,
    "date": str, "uuid": lambda value: str(value).lower(),
    "bytea": bytes,
    "json": str, "jsonb": _json,
}


def _meant(value, type_name):
    if value is None:
        return None
    try:
        return MEANING.get(type_name, str)(value)
    except (ValueError, TypeError, decimal.InvalidOperation):
        return ("not a", type_name, value)   # unequal to whatever the other side has


def read_rows(node, table, types=None):
    """key -> {column: value}. `types`: PostgreSQL types to read the values by; None: storage class and exact value (SQLite)."""
    columns, key = columns_of(node, table)
    if not key:
        raise ValueError(f"{table} has no primary key")
    names = list(columns)
    if node.engine == POSTGRESQL:
        chosen = [quoted(n) if columns[n] == "bytea" else f"{quoted(n)}::text" for n in names]
        rows = node.run(f"SELECT {', '.join(chosen)} FROM {quoted(table)}")
    else:
        rows = node.run(f"SELECT {', '.join(map(quoted, names))} FROM {quoted(table)}")
    found = {}
    for row in rows:
        if types is None:
            named = {name: (type(value).__name__, value) for name, value in zip(names, row)}
        else:
            named = {name: _meant(value, types.get(name, "text")) for name, value in zip(names, row)}
        found[tuple(named[name] for name in key)] = named
    return found


def table_differences(left, right, table, limit=10):
    """Sentences, none if the tables are equal."""
    postgres = next((node for node in (left, right) if node.engine == POSTGRESQL), None)
    types = columns_of(postgres, table)[0] if postgres else None
    ours, theirs = read_rows(left, table, types), read_rows(right, table, types)
    found = []
    for key in sorted(ours.keys() | theirs.keys(), key=repr):
        if key not in theirs:
            found.append(f"{table} {key}: only on {left.name}: {ours[key]}")
        elif key not in ours:
            found.append(f"{table} {key}: only on {right.name}: {theirs[key]}")
        elif ours[key] != theirs[key]:
            odd = {name: (ours[key].get(name), theirs[key].get(name)) for name in ours[key].keys() | theirs[key].keys()
                   if ours[key].get(name) != theirs[key].get(name)}
            found.append(f"{table} {key}: {left.name} and {right.name} differ in {odd}")
    return found[:limit] + ([f"... {len(found)} differences in {table}"] if len(found) > limit else [])


def differences(nodes, tables=None):
    """Every node against the first; two SQLite nodes also against each other, since that comparison is the stricter one."""
    pairs = [(nodes[0], other) for other in nodes[1:]]
    files = [node for node in nodes if node.engine == SQLITE]
    pairs += [(files[0], other) for other in files[1:] if (files[0], other) not in pairs]
    found = []
    for left, right in pairs:
        names = tables or table_names(left)
        if not tables and set(names) != set(table_names(right)):
            found.append(f"{left.name} has the tables {names}, {right.name} has {table_names(right)}")
            names = [name for name in names if name in table_names(right)]
        for table in names:
            try:
                found += table_differences(left, right, table)
            except sqlite3.OperationalError as error:
                found.append(f"{table}: {error}")
    return found


def row_count(nodes, tables=None):
    return sum(nodes[0].one(f"SELECT count(*) FROM {quoted(table)}") for table in tables or table_names(nodes[0]))
