"""Where throw-away databases live: temporary folders, ports, and the user that PostgreSQL runs as."""
import atexit
import os
import pathlib
import pwd
import random
import shutil
import socket
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ROWMESH_BUILD", TOP / "build"))
# Below the range that clients' sockets take their ports from: a port in there may be in use at the moment a server wants it.
PORTS = range(*map(int, os.environ.get("ROWMESH_TEST_PORTS", "21400-21999").split("-")))


class SetupError(Exception):
    pass


def sqlite_extension():
    """The path as load_extension wants it, without the suffix."""
    return str(BUILD / "sqlite_ext" / "rowmesh")


def built(engine):
    return (BUILD / {"postgresql": "pg_ext", "sqlite": "sqlite_ext"}[engine] / "rowmesh.so").exists()


def pg_config(what):
    return subprocess.check_output(["pg_config", f"--{what}"], text=True).strip()


def pg_tool(name):
    """pg_regress and pg_isolation_regress live beside PostgreSQL's makefiles."""
    base = pathlib.Path(pg_config("pgxs")).resolve().parents[1] / "test"
    return str(base / ("isolation" if "isolation" in name else "regress") / name)


def owner():
    """PostgreSQL refuses to run as root: then its servers run as the user 'postgres'. -> arguments for subprocess"""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give(path):
    ids = owner()
    if ids:
        os.chown(path, ids["user"], ids["group"])


def new_folder(label):
    """A folder that goes away with this process, unless ROWMESH_KEEP is set."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"rowmesh-{label}-"))
    folder.chmod(0o755)
    give(folder)
    if not os.environ.get("ROWMESH_KEEP"):
        at_end(shutil.rmtree, folder, ignore_errors=True)
    return folder


def at_end(function, *args, **named):
    """When this process ends, and not when a fork of it does. Last in, first out."""
    process = os.getpid()
    atexit.register(lambda: os.getpid() == process and function(*args, **named))


_given = set()


def free_port():
    choice = random.SystemRandom()
    for _ in range(2000):
        port = choice.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise SetupError(f"no free port between {PORTS.start} and {PORTS.stop}; set ROWMESH_TEST_PORTS=FIRST-LAST")


def tidy_environment():
    """Without the caller's PG* variables, which would lead our clients to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C.UTF-8"}
