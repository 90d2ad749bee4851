"""Who may ask a running node what: wrong requests get 401 or 403 and are counted, and the node goes on."""
import concurrent.futures
import contextlib
import os
import pathlib
import socket
import time

from harness import ClusterTest
from hostile_requests import hostile_requests
from nodes import SECRET, wait_linked
from requester import Requester, refused, sign

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"
HELLO = "/rowmesh/v1/hello"


class Requests(ClusterTest):
    def each_engine(self):
        for engine in ("postgresql", "sqlite"):
            node = self.node(engine, engine, SCHEMA)
            node.call("add_table", "*")
            node.call("add_server", "visitor", None, SECRET)
            visitor = Requester(node, SECRET)
            self.wait_for(lambda: self.answers(visitor), lambda status: status == 200, f"{engine} knows the visitor")
            yield node, visitor

    @staticmethod
    def answers(visitor):
        with contextlib.suppress(OSError):
            return visitor.ask("GET", HELLO)[0]
        return None

    def counts(self, node, reason, ask, status):
        """`ask` is answered so, and counted for that reason."""
        before = refused(node).get(reason, 0)
        answer = ask()
        self.assertEqual(status, answer[0], f"{reason}: {answer}")
        self.wait_for(lambda: refused(node).get(reason, 0), lambda now: now == before + 1, f"one more refused for {reason}")

    def counted(self, node, reason):
        self.wait_for(lambda: refused(node).get(reason, 0), lambda count: count > 0, f"refused for {reason}: counted")

    def test_each_wrong_request_is_refused_and_counted(self):
        for node, visitor in self.each_engine():
            self.counts(node, "not_signed", lambda: visitor.ask("GET", HELLO, headers={}), 401)
            self.counts(node, "signature", lambda: visitor.ask("GET", HELLO, secret="another secret altogether"), 401)
            self.counts(node, "unknown_node", lambda: visitor.ask("GET", HELLO, node="88888888-8888-4888-8888-888888888888"), 401)
            five_minutes = 5 * 60 * 1000
            for off in (-five_minutes - 5000, five_minutes + 5000):
                self.counts(node, "old", lambda: visitor.ask("GET", HELLO, at_ms=int(time.time() * 1000) + off), 401)
            again = sign("GET", HELLO, "", b"", SECRET)
            self.assertEqual(200, visitor.ask("GET", HELLO, headers=again)[0])
            self.counts(node, "replayed", lambda: visitor.ask("GET", HELLO, headers=again), 401)
            body = b'{"tables":[]}'
            self.counts(node, "changed_body", lambda: visitor.ask("POST", "/rowmesh/v1/copy", body=body, signed_body=b'{"tables":["note"]}'), 401)
            self.counts(node, "not_found", lambda: visitor.ask("GET", "/rowmesh/v1/nowhere"), 404)
            for part in sign("GET", HELLO, "", b"", SECRET):
                wrong = sign("GET", HELLO, "", b"", SECRET)
                wrong[part] = wrong[part][:-1] + ("0" if wrong[part][-1] != "0" else "1")
                self.assertEqual(401, visitor.ask("GET", HELLO, headers=wrong)[0], part)
            node.call("alter_server", "visitor", direction="push")
            self.wait_for(lambda: visitor.ask("POST", "/rowmesh/v1/changes", body=b"{}")[0], lambda status: status == 403, "it takes nothing from the visitor any more")
            self.counted(node, "direction")
            self.assertEqual(200, visitor.ask("GET", HELLO)[0], "and the right request is answered all the same")

    def test_what_is_over_a_limit_gets_its_status_and_is_counted(self):
        for node, visitor in self.each_engine():
            for name, value in (("max_header_size", 4), ("max_body_size", 1), ("request_timeout", 1), ("max_connections_per_address", 10)):
                node.configure(name, value)
            self.wait_for(lambda: visitor.ask("GET", HELLO, headers={"x-long": "x" * 5000})[0], lambda status: status == 431, "long headers are refused")
            self.counted(node, "header_size")
            self.counts(node, "body_size", lambda: visitor.ask("POST", "/rowmesh/v1/changes", body=b"x" * (1 << 20) + b"x"), 413)
            self.slow_loris(node)
            self.too_many_connections(node)
            node.configure("max_request_rate", 5)
            self.wait_for(lambda: visitor.ask("GET", "/rowmesh/v1/ping")[0], lambda status: status == 429, "more than five requests a second", timeout_s=20)
            node.configure("max_request_rate", 0)
            self.counted(node, "rate")

    def slow_loris(self, node):
        """A byte now and then is not enough."""
        before = refused(node).get("slow", 0)
        with socket.create_connection(("127.0.0.1", node.port), 30) as slow:
            slow.sendall(b"GET /rowmesh/v1/ping HTTP/1.1\r\nHost: x\r\n")
            until, answer = time.monotonic() + 20, b""
            slow.settimeout(0.2)
            while time.monotonic() < until:
                try:
                    slow.sendall(b"x")
                    answer = slow.recv(1000)
                    break
                except TimeoutError:
                    pass
                except ConnectionError:
                    break
            self.assertLess(time.monotonic(), until, "it was never cut off")
            self.assertIn(answer.split(b"\r\n")[0], (b"HTTP/1.1 408 Request Timeout", b""))
        self.wait_for(lambda: refused(node).get("slow", 0), lambda count: count == before + 1, "and counted")

    def too_many_connections(self, node):
        node.configure("request_timeout", 60)
        self.wait_for(lambda: self.ping(node), lambda answer: b" 200 " in answer, "ready")
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(socket.create_connection(("127.0.0.1", node.port), 30))
            self.wait_for(lambda: self.ping(node), lambda answer: b" 503 " in answer, "one more gets 503")
        self.counted(node, "too_many_connections")
        self.wait_for(lambda: self.ping(node), lambda answer: b" 200 " in answer, "and when they are gone, all is well")

    @staticmethod
    def ping(node):
        with socket.create_connection(("127.0.0.1", node.port), 30) as one:
            one.sendall(b"GET /rowmesh/v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                return one.recv(1000)
        return b""

    def test_two_readings_of_one_request_are_none(self):
        for node, _ in self.each_engine():
            for head in (b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
                         b"Content-Length: +2", b"Content-Length: 2, 2", b"Content-Length: 0x2", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"):
                before = refused(node).get("framing", 0)
                with socket.create_connection(("127.0.0.1", node.port), 30) as one:
                    one.sendall(b"POST /rowmesh/v1/changes HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\nxxGET /rowmesh/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = b""
                    with contextlib.suppress(ConnectionError):
                        while piece := one.recv(10000):
                            answer += piece
                self.assertIn(b" 400 ", answer.split(b"\r\n")[0], head)
                self.assertNotIn(b" 200 ", answer, f"{head}: the rest was taken for a request")
                self.wait_for(lambda: refused(node).get("framing", 0), lambda count: count > before, f"counted: {head}")

    def test_a_thousand_hostile_inputs(self):
        """The corpus of hostile_requests.py against nodes that replicate meanwhile: they stay up, answer, and go on."""
        left, right = self.postgres("left", SCHEMA), self.sqlite("right", SCHEMA)
        self.join([left, right], [(left, right)])
        for node in (left, right):
            node.call("add_server", "visitor", None, "the secret of the visitor")
            self.wait_for(lambda: self.answers(Requester(node, "the secret of the visitor")), lambda status: status == 200, "the visitor is known")
        workers, hosts = left.worker_pids(), right.host.pid
        memory = {pid: resident_mb(pid) for pid in (*workers, hosts)}
        sent = 0
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            for index, (name, data) in enumerate(hostile_requests(1000, "the secret of the visitor")):
                node = (left, right)[index % 2]
                pool.submit(self.throw, node, name, data).add_done_callback(lambda done: self.problems.append(done.exception()) if done.exception() else None)
                sent += 1
                if index % 50 == 0:
                    left.run(f"INSERT INTO note VALUES ({index * 2}, 'meanwhile')")
                    right.run(f"INSERT INTO note VALUES ({index * 2 + 1}, 'meanwhile')")
        self.assertEqual([], self.problems)
        self.assertEqual(1000, sent)
        self.wait_equal([left, right])
        self.assertEqual(workers, left.worker_pids(), "the worker was not restarted")
        self.assertIsNone(right.host.poll())
        for pid, before in memory.items():
            self.assertLess(resident_mb(pid) - before, 300, "megabytes more than before")
        for node in (left, right):
            self.assertGreater(sum(refused(node).values()), 200)
        wait_linked([(left, right)])

    def setUp(self):
        super().setUp()
        self.problems = []

    def throw(self, node, name, data):
        """Whatever it answers: it answers, or closes, or waits for more; and nothing that was not allowed succeeds."""
        with socket.create_connection(("127.0.0.1", node.port), 30) as one:
            answer = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                one.settimeout(10)
                one.sendall(data)
                one.settimeout(1)
                while len(answer) < 100000 and (piece := one.recv(65536)):
                    answer += piece
                    one.settimeout(0.2)
        status = answer.split(b"\r\n")[0]
        if not name.startswith("allowed"):
            self.assertNotIn(b" 20", status, f"{name}: {data[:200]!r}")
        self.assertNotIn(b"the secret of", answer)


def resident_mb(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // (1 << 20)
