"""The process that hosts a SQLite node's worker: an ordinary program that opens the file and loads the extension.

usage: sqlite_host.py FILE EXTENSION. A line of JSON in, a line of JSON out: {"sql": ..., "args": [...]} ->
{"columns": [...], "rows": [...]} or {"error": ...}. Ends when its input ends.
"""
import base64
import json
import sqlite3
import sys


def plain(value):
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def main():
    file, extension = sys.argv[1:3]
    connection = sqlite3.connect(file, timeout=30, isolation_level=None)
    connection.enable_load_extension(True)
    connection.load_extension(extension)
    print(json.dumps({"rows": [], "columns": []}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            cursor = connection.execute(request["sql"], request.get("args", []))
            rows = [[plain(value) for value in row] for row in cursor.fetchall()]
            answer = {"columns": [title[0] for title in cursor.description or []], "rows": rows}
        except sqlite3.Error as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
    connection.close()


if __name__ == "__main__":
    main()
