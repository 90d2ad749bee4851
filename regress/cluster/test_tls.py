"""TLS both ways: own certificates and CA, both sides checked, renewed while everything runs, and errors that say what to do."""
import contextlib
import http.client
import socket
import ssl

from certificates import Authority
from harness import ClusterTest
from nodes import SECRET, server_state, wait_linked

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"


def use(node, authority, files):
    """Certificate, key and CA; from now on its URL is https."""
    node.configure("tls_ca_file", authority.file)
    node.configure("tls_key_file", files[1])
    node.configure("tls_cert_file", files[0])
    node.url = f"https://localhost:{node.port}"


def client_context(authority, files=None):
    context = ssl.create_default_context(cafile=str(authority.file))
    if files:
        context.load_cert_chain(*map(str, files))
    return context


def shown_certificate(node, authority):
    """What the listener shows now, to a connection of its own."""
    with socket.create_connection(("localhost", node.port), 5) as plain, client_context(authority).wrap_socket(plain, server_hostname="localhost") as secure:
        return secure.getpeercert()["serialNumber"]


class Tls(ClusterTest):
    def setUp(self):
        super().setUp()
        self.authority = Authority()

    def one(self, engine, name, **more):
        node = self.node(engine, name, SCHEMA)
        use(node, more.pop("authority", self.authority), self.authority.issue(name, **more))
        self.wait_for(lambda: self.speaks_tls(node), bool, f"{name} speaks TLS")
        return node

    @staticmethod
    def speaks_tls(node):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", node.port), 5) as plain, context.wrap_socket(plain) as secure:
            return secure.version()
        return None

    def pair(self):
        left, right = self.one("postgresql", "left"), self.one("sqlite", "right")
        self.join([left, right], [(left, right)])
        return left, right

    def checks(self, node, server):
        return {row[0]: (bool(row[1]), row[2]) for row in node.call("test_server", server)}

    def test_both_ways_with_certificates_of_our_own(self):
        left, right = self.pair()
        left.run("INSERT INTO note VALUES (1, 'from the left')")
        right.run("INSERT INTO note VALUES (2, 'from the right')")
        self.wait_equal([left, right])
        for node, other in ((left, right), (right, left)):
            checks = self.checks(node, other.name)
            self.assertEqual([], [name for name, (ok, _) in checks.items() if not ok], checks)
            self.assertIn("TLS", checks)

    def test_who_shows_no_certificate_gets_nothing(self):
        left, right = self.pair()
        for node in (left, right):
            with self.subTest(node.engine):
                for files, status in ((None, 403), (Authority("another").issue("stranger"), None)):
                    connection = http.client.HTTPSConnection("localhost", node.port, context=client_context(self.authority, files), timeout=10)
                    try:
                        connection.request("GET", "/rowmesh/v1/hello")
                        answer = connection.getresponse()
                        self.assertEqual(403, answer.status)
                        self.assertIn(b"certificate", answer.read())
                    except (ssl.SSLError, ConnectionError):   # or the handshake itself is refused
                        self.assertIsNone(status)
                    finally:
                        connection.close()
                # Without TLS there is no answer at all.
                with socket.create_connection(("127.0.0.1", node.port), 5) as plain:
                    plain.sendall(b"GET /rowmesh/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
                    with contextlib.suppress(ConnectionError):
                        self.assertNotIn(b"HTTP/1.1 200", plain.recv(1000))

    def test_what_is_wrong_with_a_certificate_is_said(self):
        left = self.one("postgresql", "left")
        other = self.one("sqlite", "other")
        wrongs = {"expired": dict(days=-1), "another name": dict(names="DNS:elsewhere.example"), "is not known here": dict(authority=Authority("unknown"))}
        for words, how in wrongs.items():
            authority = how.pop("authority", self.authority)
            use(other, self.authority, authority.issue("wrong" + str(len(words)), **how))
            for node in (left, self.one("sqlite", "asker" + str(len(words)))):
                with self.subTest(f"{words}, {node.engine}"):
                    node.call("add_server", "other", other.url, SECRET)
                    ok, detail = self.wait_for(lambda: self.checks(node, "other").get("TLS", (True, "")), lambda found: not found[0], f"a complaint: {words}")
                    self.assertIn(words, detail)
                    self.wait_for(lambda: server_state(node, "other")["last_error"] or "", lambda said: words in said, f"the status says: {words}")
                    node.call("remove_server", "other")
        use(other, self.authority, self.authority.issue("other"))
        left.call("add_server", "plain", f"http://127.0.0.1:{other.port}", SECRET)
        self.assertIn("https://", self.checks(left, "plain")["reach"][1])

    def test_renewed_without_a_restart(self):
        left, right = self.pair()
        for node in (left, right):
            with self.subTest(node.engine):
                before, workers = shown_certificate(node, self.authority), getattr(node, "worker_pids", list)()
                self.authority.issue(node.name)
                node.configure("tls_ca_file", self.authority.file)   # as a reload
                for id in range(node.port * 1000, node.port * 1000 + 50):
                    (left if id % 2 else right).run(f"INSERT INTO note VALUES ({id}, 'meanwhile')")
                self.wait_for(lambda: shown_certificate(node, self.authority), lambda shown: shown != before, "the new certificate is shown")
                self.wait_equal([left, right])
                self.assertEqual(workers, getattr(node, "worker_pids", list)())
        self.assert_quiet([left, right])
        wait_linked([(left, right)])

    def test_files_that_cannot_be_used(self):
        left, right = self.pair()
        for node in (left, right):
            with self.subTest(node.engine):
                shown = shown_certificate(node, self.authority)
                node.configure("tls_key_file", self.authority.issue("somebody else")[1])
                self.wait_for(node.log_text if node.engine == "postgresql" else lambda: str(node.call("debug")), lambda text: "does not belong to the certificate" in text,
                              "the mismatch is said")
                self.assertEqual(shown, shown_certificate(node, self.authority), "the old one is kept")
        # Where there never was a good one, nothing listens rather than without TLS.
        lonely = self.node("sqlite", "lonely", SCHEMA)
        lonely.configure("tls_key_file", "/nowhere/key.pem")
        lonely.configure("tls_cert_file", "/nowhere/cert.pem")
        def refused():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", lonely.port), 5):
                return False
            return True
        self.wait_for(refused, bool, "it stopped listening")
        self.wait_for(lambda: str(lonely.call("debug")), lambda text: "/nowhere" in text, "it says why")
