"""What the tests of the loadable extension share: a folder, connections with and without it, and programs in processes of their own."""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
EXTENSION = os.environ.get("ROWMESH_SQLITE_EXTENSION") or str(
    pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build")) / "sqlite_ext" / "rowmesh")
SECRET = "a secret of at least sixteen letters"
SCHEMA = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)"
PRELUDE = f"""
import os, signal, sqlite3, sys, threading, time
def connect(file):
    connection = sqlite3.connect(file, timeout=30, isolation_level=None)
    connection.enable_load_extension(True)
    connection.load_extension({EXTENSION!r})
    return connection
db = connect(sys.argv[1])
"""


def free_port():
    """Below the ports that the system hands out to clients, so nobody takes it meanwhile."""
    for port in range(21300, 21350):
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no port from 21300 to 21349 is free")


def wait_for(what, condition, timeout_s=20):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what}; last: {value!r}")


class ExtensionTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rowmesh-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.connections, self.programs = [], []
        self.addCleanup(self.end_all)
        self.file = self.new_file("app")

    def end_all(self):
        for connection in self.connections:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("SELECT rowmesh_stop()")
            connection.close()
        for program in self.programs:
            if program.poll() is None:
                program.kill()
            program.communicate()

    def new_file(self, name):
        file = str(self.folder / f"{name}.db")
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as plain:
            plain.execute("PRAGMA journal_mode = WAL")
            plain.execute(SCHEMA)
        return file

    def plain(self, file=None):
        connection = sqlite3.connect(file or self.file, timeout=30, isolation_level=None, check_same_thread=False)
        self.addCleanup(connection.close)
        return connection

    def loaded(self, file=None):
        connection = sqlite3.connect(file or self.file, timeout=30, isolation_level=None, check_same_thread=False)
        connection.enable_load_extension(True)
        connection.load_extension(EXTENSION)
        self.connections.append(connection)
        return connection

    def program(self, text, *args):
        program = subprocess.Popen([sys.executable, "-c", PRELUDE + text, self.file, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.programs.append(program)
        return program

    def finish(self, text, *args, timeout_s=30):
        """Runs a program to its end: (exit code, output). A hang fails the test."""
        program = self.program(text, *args)
        output, errors = program.communicate(timeout=timeout_s)
        return program.returncode, output + errors

    def shell(self, *commands, timeout_s=30):
        return subprocess.run(["sqlite3", self.file, *commands], capture_output=True, text=True, timeout=timeout_s)

    @contextlib.contextmanager
    def assert_says(self, *words):
        with self.assertRaises(sqlite3.OperationalError) as caught:
            yield
        for word in words:
            self.assertIn(word, str(caught.exception))


def debug(connection):
    return json.loads(connection.execute("SELECT rowmesh_debug()").fetchone()[0])


def serve(connection, port):
    connection.execute("SELECT rowmesh_add_table('*')")
    connection.execute("SELECT rowmesh_config('listen', ?)", (f"127.0.0.1:{port}",))
    connection.execute("SELECT rowmesh_start()")


def wait_serving(connection):
    wait_for("this process serves the file", lambda: debug(connection)["worker"] == "serving")
