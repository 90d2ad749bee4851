"""Requests as a server makes them (docs/protocol.md), written anew here so that the tests do not believe the code they test."""
import hashlib
import hmac
import http.client
import json
import secrets
import time

NODE = "99999999-9999-4999-8999-999999999999"


def sign(method, path, query, body, secret, node=NODE, at_ms=None, nonce=None, signed_body=None):
    """-> the five headers. `signed_body`: sign for another body than the one that is sent."""
    at_ms = str(int(time.time() * 1000) if at_ms is None else at_ms)
    nonce = nonce or secrets.token_hex(8)
    digest = hashlib.sha256(body if signed_body is None else signed_body).hexdigest()
    text = "\n".join(["rowmesh-1", method, path, query, node, at_ms, nonce, digest])
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"x-rowmesh-node": node, "x-rowmesh-time": at_ms, "x-rowmesh-nonce": nonce, "x-rowmesh-digest": digest, "x-rowmesh-signature": signature}


class Requester:
    """A server of the node's, as far as the node can tell."""

    def __init__(self, node, secret, id=NODE):
        self.node, self.secret, self.id = node, secret, id

    def ask(self, method, path, query="", body=b"", headers=None, secret=None, **how):
        """-> (status, answer's JSON or text)"""
        if headers is None:
            headers = sign(method, path, query, body, secret or self.secret, how.pop("node", self.id), **how)
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=30)
        try:
            connection.request(method, path + ("?" + query if query else ""), body if body or method == "POST" else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text


def refused(node):
    """reason -> number, as the node itself says"""
    if node.engine == "postgresql":
        return node.one("SELECT refused FROM rowmesh.node()")
    return json.loads(node.call("node")[0][0])["refused"]
