"""A TCP proxy that misbehaves on demand, to stand between two nodes."""
import contextlib
import os
import socket
import threading

import places

MODES = ("pass", "refuse", "hang", "rubbish", "error page", "slow", "cut")


class FaultProxy:
    """mode: pass; refuse: closes at once; hang: takes everything and never answers; rubbish: answers with random bytes; error page: a
    proxy's HTML with status 200; slow: hands the answer on a few bytes at a time; cut: ends the connection in the middle of the answer."""

    def __init__(self, target_url, mode="pass"):
        host, port = target_url.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.mode = mode
        self.port = places.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self._open = set()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode):
        """New connections behave so at once; those that are open are ended."""
        assert mode in MODES, mode
        self.mode = mode
        for connection in list(self._open):
            _end(connection)

    def close(self):
        self._ended.set()
        _end(self._listener)
        self.set("refuse")

    def _accept(self):
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, self.mode), daemon=True).start()

    def _serve(self, client, mode):
        with contextlib.suppress(OSError):
            if mode in ("pass", "slow", "cut"):
                self._relay(client, mode)
            elif mode == "hang":
                while client.recv(65536):
                    pass
            elif mode == "rubbish":
                client.recv(65536)
                client.sendall(os.urandom(3000))
            elif mode == "error page":
                client.recv(65536)
                page = b"<html><body>Please log in to the hotel's network</body></html>"
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
        self._open.discard(client)
        _end(client)

    def _relay(self, client, mode):
        server = socket.create_connection(self.target, timeout=10)
        server.settimeout(None)
        self._open.add(server)
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if mode == "cut":
                    client.sendall(data[:len(data) // 2])
                    break
                if mode == "slow":
                    for at in range(0, len(data), 16):
                        client.sendall(data[at:at + 16])
                        self._ended.wait(0.05)   # the slowness itself is what is tested
                else:
                    client.sendall(data)
        self._open.discard(server)
        _end(server)

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def _end(connection):
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()
