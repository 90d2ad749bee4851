"""./dev demo: three databases, kept equal while all of them are written. Exits 0 only if they are equal in the end.

usage: demo.py [FILE.db] [--keep]
"""
import argparse
import itertools
import os
import pathlib
import signal
import sqlite3
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "regress" / "cluster"))
arguments = argparse.ArgumentParser(description="Three databases, kept equal while all of them are written.", prog="./dev demo")
arguments.add_argument("file", nargs="?", help="a SQLite file of yours: the demo works with copies of it, on SQLite nodes only")
arguments.add_argument("--keep", action="store_true", help="leave the nodes running and say how to reach them")
arguments.add_argument("--writes", type=int, default=600, help="writes on each node while all write at once")
chosen = arguments.parse_args()

import season  # noqa: E402
import users_file  # noqa: E402
from compare import differences, row_count  # noqa: E402
from nodes import PostgresNode, SECRET, SetupError, SqliteNode, link_all, mesh, wait_linked, wait_streaming  # noqa: E402
from waiting import NotYet, wait_until  # noqa: E402

started = time.monotonic()
numbers = itertools.count(1)


def tell(text):
    print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


def start_nodes():
    """The first one holds the data, the others begin with empty tables."""
    if chosen.file:
        nodes = [SqliteNode("yours", chosen.file), SqliteNode("copy_one"), SqliteNode("copy_two")]
        schema = users_file.schema(nodes[0])
        for node in nodes[1:]:
            node.run(schema)
    else:
        nodes = [PostgresNode("hq"), SqliteNode("north"), SqliteNode("south")]
        nodes[0].run(season.POSTGRES_SCHEMA)
        for node in nodes[1:]:
            node.run(season.SQLITE_SCHEMA)
        season.fill(nodes[0])
    for node in nodes:
        node.begin()
    return nodes


def describe(node):
    return f"{node.name} ({'PostgreSQL' if node.engine == 'postgresql' else 'SQLite'}, {node.url})"


def wait_equal(nodes, tables, timeout_s=120):
    try:
        wait_until(lambda: differences(nodes, tables), lambda found: not found, "all are equal", timeout_s, every_s=0.1)
    except NotYet:
        raise SystemExit("The databases are NOT equal:\n  " + "\n  ".join(differences(nodes, tables)[:20])) from None


def write_everywhere(nodes, writer_of, count):
    """Every node's own program writes, all at the same time. The programs know nothing of rowmesh."""
    failures = []

    def work(place, node):
        connection = node.connect()
        try:
            write = writer_of(node, place)
            for number in range(count):
                write(connection.cursor(), number)
        except Exception as error:
            failures.append(f"{node.name}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(place, node)) for place, node in enumerate(nodes, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit("A program could not write: " + "; ".join(failures))


def season_writer(node, place):
    """Entries, marks and remarks. Each site numbers in a range of its own."""
    mark = "%s" if node.engine == "postgresql" else "?"

    def write(cursor, number):
        if number % 3 == 0:
            cursor.execute(f"INSERT INTO entry (id, match_id, person_id, scout, mark, remark, seen_at) VALUES ({', '.join([mark] * 7)})",
                           (10_000_000 * place + next(numbers), number % 90 + 1, number % 240 + 1, node.name, "7.5", f"live from {node.name}", "2026-09-01 16:05:00.250000"))
        elif number % 3 == 1:
            cursor.execute(f"UPDATE entry SET remark = {mark} WHERE id = {mark}", (f"{node.name} was here {number}", number % 1000 + 1))
        else:
            cursor.execute(f"UPDATE person SET fee = {mark} WHERE id = {mark}", (f"{number * 1000 + place}.5", number % 240 + 1))
    return write


def arrival_ms(source, others, change, look, samples=40):
    """From the moment in which the commit returned until each of the others shows the row."""
    times = []
    readers = [(node, node.connect()) for node in others]
    for number in range(samples):
        value = change(number)
        committed = time.perf_counter()
        for node, connection in readers:
            cursor = connection.cursor()
            while True:
                if look(node, cursor) == value:
                    break
                if time.perf_counter() - committed > 30:
                    raise SystemExit(f"A change of {source.name} did not reach {node.name} within 30 s. {node.name} says: {node.view('status')}")
            times.append((time.perf_counter() - committed) * 1000)
    for _, connection in readers:
        connection.close()
    times.sort()
    return f"median {statistics.median(times):.1f} ms, slowest {times[-1]:.1f} ms ({len(times)} arrivals)"


def measure(nodes, table, key, column):
    name, key_name, column_name = (f'"{text}"' for text in (table, key, column))
    id = nodes[0].one(f"SELECT min({key_name}) FROM {name}")
    for source in nodes:
        def change(number):
            value = f"seen {source.name} {number}"
            source.run(f"UPDATE {name} SET {column_name} = ? WHERE {key_name} = ?", value, id)
            return value

        def look(node, cursor):
            mark = "%s" if node.engine == "postgresql" else "?"
            cursor.execute(f"SELECT {column_name} FROM {name} WHERE {key_name} = {mark}", (id,))
            return cursor.fetchone()[0]

        tell(f"  a change of {source.name}, from its commit until the others show it: {arrival_ms(source, [n for n in nodes if n is not source], change, look)}")


def show_how_to_reach(nodes):
    print("\nThe nodes go on running. Write to them and look at the others:")
    for node in nodes:
        if node.engine == "postgresql":
            print(f"  {node.name}: psql -h {node.server.folder} -p {node.server.port} -U postgres {node.database}")
        else:
            print(f"  {node.name}: sqlite3 {node.file}")
        print(f"      health: curl -s {node.url}/health")
    print("Press Ctrl-C to stop them; their folders are removed then.", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
    except KeyboardInterrupt:
        print()


def run(nodes):
    for node in nodes:
        tell(f"started {describe(node)}")
    tables = users_file.tables(nodes[0]) if chosen.file else season.TABLES
    for node in nodes:
        for table in tables if chosen.file else ["*"]:
            node.call("add_table", table)
    link_all(mesh(nodes))
    wait_linked(mesh(nodes))
    tell("linked as a mesh: everybody ships to everybody, and everybody may write")

    for other in nodes[1:]:
        nodes[0].call("copy", other.name)
    wait_equal(nodes, tables)
    wait_linked(mesh(nodes))
    tell(f"copied {row_count(nodes, tables)} rows in {len(tables)} tables to the two others; compared row by row: equal")

    writer_of = users_file.writer(nodes[0], tables) if chosen.file else season_writer
    place = users_file.place_to_measure(nodes[0], tables) if chosen.file else ("entry", "id", "remark")
    if place:
        measure(nodes, *place)
    tell(f"all three write at once, {chosen.writes} writes each ...")
    write_everywhere(nodes, writer_of, chosen.writes)
    wait_equal(nodes, tables)
    tell("  equal again")

    away, others = nodes[-1], nodes[:-1]
    away.stop()
    tell(f"{away.name} is down: its program has ended")
    write_everywhere(nodes, writer_of, chosen.writes // 2)   # the file of a SQLite node can still be written
    wait_equal(others, tables)
    tell(f"  meanwhile all three were written ({away.name} by a program that never loads rowmesh); the two others are equal")
    back = time.monotonic()
    away.start()
    wait_equal(nodes, tables)
    tell(f"{away.name} is back and caught up by itself, {time.monotonic() - back:.1f} s after its start")
    wait_streaming(away, *others)

    found = differences(nodes, tables)
    held = {node.name: len(node.view("quarantine")) for node in nodes}
    tell(f"final comparison without rowmesh's code, row by row: {row_count(nodes, tables)} rows, {'equal' if not found else 'NOT equal'}")
    tell("  changes that lost against another one of the same column (listed in `conflicts`): "
         + ", ".join(f"{node.name} {len(node.view('conflicts'))}" for node in nodes))
    if found or any(held.values()):
        raise SystemExit("\n".join(found[:20] + [f"in quarantine: {held}"]))


def main():
    if chosen.file:
        users_file.check(chosen.file)
    nodes = []
    try:
        nodes += start_nodes()
        run(nodes)
        print(f"\nAll three databases are equal. ({time.monotonic() - started:.0f} s)")
        if chosen.keep:
            show_how_to_reach(nodes)
    except (NotYet, SetupError, sqlite3.Error) as error:
        sys.exit(f"The demo failed: {error}")
    finally:
        for node in nodes:
            node.close()


if __name__ == "__main__":
    os.environ.pop("ROWMESH_KEEP", None)
    main()
