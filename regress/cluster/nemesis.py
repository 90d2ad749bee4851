"""Breaks what may break: kill -9 of workers, sessions, servers and programs, processes that are stopped for a while, links that are cut, hang
or crawl, a disk that is full."""
import contextlib
import os
import pathlib
import signal
import time

from fault_proxy import FaultProxy
from nodes import SECRET, mesh, wait_linked
from postgres import children
from waiting import wait_until


def link_through_proxies(nodes):
    """All with all. -> the proxies, one for each direction"""
    proxies = []
    for node in nodes:
        node.call("add_table", "*")
    for left, right in mesh(nodes):
        for here, there in ((left, right), (right, left)):
            proxies.append(FaultProxy(there.url))
            here.call("add_server", there.name, proxies[-1].url, SECRET)
    wait_linked(mesh(nodes), timeout_s=60)
    return proxies


class Nemesis:
    def __init__(self, random, nodes, proxies, disk):
        self.random, self.nodes, self.proxies, self.disk, self.done = random, nodes, proxies, disk, []

    def pause(self, most):
        time.sleep(self.random.uniform(0.2, most))

    def strike(self):
        deeds = [self.kill_worker, self.kill_server, self.freeze, self.link, self.link, self.kill_session]
        if self.disk:
            deeds.append(self.fill_disk)
        deed = self.random.choice(deeds)
        self.done.append(deed.__name__)
        deed()

    def one(self, engine=None):
        return self.random.choice([node for node in self.nodes if engine in (None, node.engine)])

    def kill_worker(self):
        node = self.one()
        node.kill_worker()
        self.pause(1)
        node.start() if node.engine == "sqlite" else node.wait_ready()

    def kill_server(self):
        node = self.one("postgresql")
        node.kill()
        self.pause(1.5)
        node.start()
        node.wait_ready()

    def kill_session(self):
        """A session killed in the middle of whatever it does: PostgreSQL ends all others and recovers."""
        node = self.one("postgresql")
        sessions = [pid for pid in children(node.server.postmaster()) if b"app" in command(pid) and b"rowmesh" not in command(pid)]
        if sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(sessions), signal.SIGKILL)
            # Until it has noticed, the server still takes connections, which it then ends with all others.
            wait_until(lambda: set(sessions) & set(children(node.server.postmaster())), lambda left: not left, "all sessions have been ended")
        node.wait_ready()

    def freeze(self):
        node = self.one()
        node.freeze()
        self.pause(3)
        node.thaw()

    def link(self):
        proxy = self.random.choice(self.proxies)
        proxy.set(self.random.choice(["refuse", "hang", "slow", "cut", "rubbish", "error page"]))
        self.pause(2)
        if self.random.random() < 0.5:
            self.strike()   # two at once
        proxy.set("pass")

    def fill_disk(self):
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as out:
            while True:
                out.write(bytes(65536))
        self.pause(2)
        ballast.unlink()


def command(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
