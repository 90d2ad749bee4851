"""A PostgreSQL server of one's own, and a node in it."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

import psycopg2

import places
from waiting import wait_until

BASE_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "max_prepared_transactions": "20",
    "max_connections": "60",
    "max_worker_processes": "16",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "10s",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %b ",
}
_template = None


def _initialised_folder(bindir):
    """initdb takes seconds: it runs once a process, and every server gets a copy."""
    global _template
    if _template is None:
        folder = places.new_folder("initdb") / "data"
        subprocess.run([f"{bindir}/initdb", "-D", str(folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/", env=places.tidy_environment(), **places.owner())
        _template = folder
    return _template


class PostgresServer:
    def __init__(self, name, settings=None, preload="rowmesh"):
        self.name = name
        self.bindir = places.pg_config("bindir")
        self.folder = places.new_folder(name)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = places.free_port()
        self.running = False
        subprocess.run(["cp", "-a", str(_initialised_folder(self.bindir)), str(self.data)], check=True)
        chosen = BASE_SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder),
                                  "shared_preload_libraries": preload} | (settings or {})
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in chosen.items())
        if not os.environ.get("ROWMESH_KEEP"):
            places.at_end(self.stop, "immediate")   # also when a test is ended in the middle of its work
        self.start()

    def _pg_ctl(self, *arguments, check=True):
        return subprocess.run([f"{self.bindir}/pg_ctl", "-D", str(self.data), "-w", "-s", *arguments], check=check, cwd="/",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=places.tidy_environment(), **places.owner())

    def start(self):
        try:
            program = os.environ.get("ROWMESH_POSTGRES")   # in place of PostgreSQL's own: scripts/valgrind.py
            self._pg_ctl("-l", str(self.log), "-t", "60", *(["-p", program] if program else []), "start")
        except subprocess.CalledProcessError as error:
            tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
            raise places.SetupError(f"PostgreSQL '{self.name}' did not start: {error.stdout}\n{tail}") from None
        self.running = True

    def stop(self, mode="fast"):
        if self.running:
            self._pg_ctl("-m", mode, "-t", "30", "stop", check=False)
            self.running = False

    def kill(self):
        """kill -9 of the server and everything that belongs to it, as a power cut would end them."""
        leader = self.postmaster()
        family = [leader, *children(leader)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: [pid for pid in family if alive(pid)], lambda left: not left, "the killed server is gone")
        # Where nobody collects the dead (a container), their process ids still seem to be in use, and the locks to be held.
        for lock in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock", self.folder / f".s.PGSQL.{self.port}"):
            lock.unlink(missing_ok=True)
        self.running = False

    def postmaster(self):
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def connect(self, database="postgres", autocommit=True, **more):
        connection = psycopg2.connect(host=str(self.folder), port=self.port, user=more.pop("user", "postgres"), dbname=database, **more)
        connection.autocommit = autocommit
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stop("immediate")
        if not os.environ.get("ROWMESH_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


def alive(pid):
    """A zombie is dead: it only waits for its parent to ask."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                if int(stat[1]) == pid:
                    found.append(int(entry))
    return found


class PostgresNode:
    """A database of a PostgreSQL server with rowmesh in it."""
    engine = "postgresql"

    def __init__(self, name, server=None, database="app", settings=None):
        self.name = name
        self.server = server or PostgresServer(name, settings)
        self.own_server = server is None
        self.database = database
        self.port = places.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._connection = None
        with contextlib.closing(self.server.connect()) as connection:
            connection.cursor().execute(f"CREATE DATABASE {database}")

    def begin(self):
        """Makes the database a node. Apart from the constructor, so that tests can fill it before."""
        self.run("CREATE EXTENSION rowmesh")
        self.run(f"ALTER DATABASE {self.database} SET rowmesh.listen = '127.0.0.1:{self.port}'")
        self.run("SELECT pg_reload_conf()")
        self.disconnect()
        return self

    # ---- the application's side
    def connect(self, autocommit=True):
        return self.server.connect(self.database, autocommit)

    @property
    def connection(self):
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        return self._connection

    def disconnect(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, sql, *args):
        """Statements with ? for arguments, as in SQLite. -> rows, if there are any"""
        with self.connection.cursor() as cursor:
            cursor.execute(sql.replace("%", "%%").replace("?", "%s") if args else sql, args or None)
            return cursor.fetchall() if cursor.description else None

    def one(self, sql, *args):
        return self.run(sql, *args)[0][0]

    # ---- rowmesh
    def call(self, function, *args, **named):
        parts = ["?"] * len(args) + [f"{name} => ?" for name in named]
        return self.run(f"SELECT * FROM rowmesh.{function}({', '.join(parts)})", *args, *named.values())

    def configure(self, name, value):
        self.run(f"ALTER DATABASE {self.database} SET rowmesh.{name} = '{value}'")
        self.run("SELECT pg_reload_conf()")

    def view(self, name):
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM rowmesh.{name}")
            titles = [column.name for column in cursor.description]
            return [dict(zip(titles, row)) for row in cursor.fetchall()]

    def worker_pids(self):
        """Backends that neither serve a client nor belong to PostgreSQL itself."""
        return [row[0] for row in self.run("SELECT pid FROM pg_stat_activity WHERE backend_type ILIKE '%rowmesh%' AND datname = current_database()")]

    # ---- accidents
    def kill_worker(self):
        def found():
            try:
                return self.worker_pids()
            except psycopg2.Error:   # the server starts over: a backend was killed a moment ago
                self.disconnect()
                return []
        pids = wait_until(found, bool, f"{self.name} has a worker")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: [pid for pid in pids if alive(pid)], lambda left: not left, "the killed worker is gone")

    def wait_ready(self):
        """PostgreSQL ends all sessions and recovers when one of its processes was killed."""
        def answers():
            self.disconnect()
            with contextlib.suppress(psycopg2.Error):
                return self.one("SELECT true")
            return False
        wait_until(answers, bool, f"{self.name} takes connections again")

    def freeze(self):
        self.wait_ready()   # an accident before this one may have ended the session
        self._frozen = self.worker_pids()
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in getattr(self, "_frozen", []):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def kill(self):
        self.disconnect()
        self.server.kill()

    def stop(self):
        self.disconnect()
        self.server.stop()

    def start(self):
        self.server.start()

    def log_text(self):
        return self.server.log.read_text(errors="replace")

    def close(self):
        self.thaw()
        self.disconnect()
        if self.own_server:
            self.server.close()
