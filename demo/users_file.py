"""The demo on a SQLite file of the user's: what it has, and writes that fit any schema."""
import pathlib
import sqlite3

from compare import columns_of, quoted, table_names


def check(path):
    if not pathlib.Path(path).is_file():
        raise SystemExit(f"There is no file {path}.")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise SystemExit(f"{path} is not a SQLite file that can be read: {error}") from None


def schema(node):
    """Tables and unique indexes; views, triggers and virtual tables stay out."""
    rows = node.run("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index') AND name NOT LIKE 'sqlite#_%' ESCAPE '#' "
                    "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY type = 'index'")
    return ";\n".join(row[0] for row in rows) + ";"


def tables(node):
    """Those with a key; the others cannot be replicated, and the demo says so."""
    names = table_names(node)
    keyed = [name for name in names if columns_of(node, name)[1]]
    for name in sorted(set(names) - set(keyed)):
        print(f"          left out: {name} has no primary key")
    if not keyed:
        raise SystemExit("None of the tables in this file has a primary key; rowmesh needs one to know which row is meant.")
    return keyed


def _text_columns(node, table):
    columns, key = columns_of(node, table)
    unique = {row[2] for index in node.run(f"PRAGMA index_list({quoted(table)})") if index[2]
              for row in node.run(f"PRAGMA index_info({quoted(index[1])})")}
    references = {row[3] for row in node.run(f"PRAGMA foreign_key_list({quoted(table)})")}
    is_text = lambda type_name: any(word in type_name.upper() for word in ("CHAR", "TEXT", "CLOB"))  # noqa: E731
    return [name for name, type_name in columns.items() if is_text(type_name) and name not in key and name not in unique | references]


def place_to_measure(node, names):
    """A table with one key column, a text column and a row: (table, key, column)"""
    for table in names:
        columns, key = columns_of(node, table)
        text = _text_columns(node, table)
        if len(key) == 1 and text and node.one(f"SELECT count(*) FROM {quoted(table)}"):
            return table, key[0], text[0]
    return None


def writer(node, names):
    """Edits of text columns, so that no constraint of an unknown schema is in the way."""
    places = [(table, columns_of(node, table)[1], column) for table in names for column in _text_columns(node, table)[:2]
              if node.one(f"SELECT count(*) FROM {quoted(table)}")]
    if not places:
        raise SystemExit("No table of this file has both rows and a text column that may be edited; the demo needs one.")
    keys = {table: node.run(f"SELECT {', '.join(map(quoted, key))} FROM {quoted(table)} LIMIT 500") for table, key, _ in places}

    def writer_of(writing_node, _place):
        def write(cursor, number):
            table, key, column = places[number % len(places)]
            row = keys[table][number % len(keys[table])]
            cursor.execute(f"UPDATE {quoted(table)} SET {quoted(column)} = ? WHERE {' AND '.join(f'{quoted(name)} IS ?' for name in key)}",
                           (f"{writing_node.name} {number}", *row))
        return write
    return writer_of
