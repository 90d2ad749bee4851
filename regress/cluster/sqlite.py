"""A SQLite node: a file, plain connections that know nothing of rowmesh, and a process that hosts the worker."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys

import places

HOST = pathlib.Path(__file__).with_name("sqlite_host.py")


class SqliteNode:
    engine = "sqlite"

    def __init__(self, name, file=None, folder=None, beside=None):
        """`file`: begin with a copy of it. `beside`: another node, in whose folder this one's file lies."""
        self.name = name
        self.folder = beside.folder if beside else folder or places.new_folder(name)
        self.file = str(self.folder / (f"{name}.db" if beside else "app.db"))
        if file:
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source, contextlib.closing(sqlite3.connect(self.file)) as copy:
                source.backup(copy)   # with what is still in its write-ahead log
        self.port = places.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / f"host-{self.port}.log"
        self.host = None
        self._connection = None
        self.run("PRAGMA journal_mode = WAL")

    def begin(self):
        self.start()
        self.ask("SELECT rowmesh_config('listen', ?)", f"127.0.0.1:{self.port}")
        self.ask("SELECT rowmesh_start()")
        return self

    # ---- the application's side: no extension is loaded here
    def connect(self, autocommit=True):
        return sqlite3.connect(self.file, timeout=30, check_same_thread=False, isolation_level=None if autocommit else "DEFERRED")

    @property
    def connection(self):
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def disconnect(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, sql, *args):
        try:
            return self.connection.execute(sql, args).fetchall()
        except (sqlite3.Warning, sqlite3.ProgrammingError) as error:   # the one until Python 3.11, the other since
            if args or "one statement" not in str(error):
                raise
        self.connection.executescript(sql)
        return None

    def one(self, sql, *args):
        return self.run(sql, *args)[0][0]

    # ---- rowmesh, in the host process
    def start(self):
        with open(self.log, "ab") as log:
            self.host = subprocess.Popen([sys.executable, str(HOST), self.file, places.sqlite_extension()], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        self._answer()

    def ask(self, sql, *args):
        return [tuple(row) for row in self._ask(sql, args)["rows"]]

    def _ask(self, sql, args=()):
        self.host.stdin.write(json.dumps({"sql": sql, "args": list(args)}) + "\n")
        self.host.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.host.stdout.readline()
        if not line:
            raise places.SetupError(f"the host process of {self.name} ended ({self.host.wait()}): {self.log_text()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise sqlite3.OperationalError(answer["error"])
        return answer

    def call(self, function, *args, **named):
        values = [*args, json.dumps(named)] if named else list(args)
        rows = "* FROM " if function == "test_server" else ""   # a table-valued function
        return self.ask(f"SELECT {rows}rowmesh_{function}({', '.join('?' * len(values))})", *values)

    def configure(self, name, value):
        self.ask("SELECT rowmesh_config(?, ?)", name, str(value))

    def view(self, name):
        answer = self._ask(f"SELECT * FROM rowmesh_{name}")
        return [dict(zip(answer["columns"], row)) for row in answer["rows"]]

    # ---- accidents
    def kill(self):
        self.host.send_signal(signal.SIGKILL)
        self.host.wait()
        self._close_pipes()

    kill_worker = kill

    def freeze(self):
        self.host.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.host.send_signal(signal.SIGCONT)

    def stop(self):
        """The host program ends as programs do."""
        if self.host is None or self.host.poll() is not None:
            return
        self.thaw()
        self.host.stdin.close()
        try:
            self.host.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise places.SetupError(f"the host process of {self.name} did not end by itself") from None
        self._close_pipes()
        if self.host.returncode != 0:
            raise places.SetupError(f"the host process of {self.name} did not end well ({self.host.returncode}): {self.log_text()[-2000:]}")

    def _close_pipes(self):
        for pipe in (self.host.stdin, self.host.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def close(self):
        self.disconnect()
        try:
            self.stop()
        finally:
            if not os.environ.get("ROWMESH_KEEP"):
                shutil.rmtree(self.folder, ignore_errors=True)
