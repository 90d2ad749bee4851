"""What tests, demo and bench import: nodes of both engines, and how to link them."""
import itertools
import json

from places import SetupError, pg_tool, sqlite_extension  # noqa: F401
from postgres import PostgresNode, PostgresServer  # noqa: F401
from sqlite import SqliteNode  # noqa: F401
from waiting import wait_until

SECRET = "a secret of at least sixteen letters"


def link(left, right, secret=SECRET, **options):
    left.call("add_server", right.name, right.url, secret, **options)
    right.call("add_server", left.name, left.url, secret, **options)


def link_all(pairs):
    for left, right in pairs:
        link(left, right)


def mesh(nodes):
    return list(itertools.combinations(nodes, 2))


def chain(nodes):
    return list(zip(nodes, nodes[1:]))


def star(nodes):
    return [(nodes[0], other) for other in nodes[1:]]


def server_state(node, server):
    return next((row for row in node.view("status") if row["server"] == server), None)


def published(node):
    """What the worker last told of itself, about once a second; None as long as it has told nothing."""
    told = node.one("SELECT rowmesh.published_status()" if node.engine == "postgresql" else "SELECT max(status) FROM rowmesh_published")
    return json.loads(told) if told else None


def wait_streaming(node, *servers, timeout_s=30):
    wait_until(lambda: {row["server"]: row["state"] for row in node.view("status")},
               lambda states: all(states.get(server.name) == "streaming" for server in servers),
               f"{node.name} streams to {', '.join(server.name for server in servers)}", timeout_s)


def wait_linked(pairs, timeout_s=30):
    for left, right in pairs:
        wait_streaming(left, right, timeout_s=timeout_s)
        wait_streaming(right, left, timeout_s=timeout_s)
