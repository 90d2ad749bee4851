"""A corpus of hostile HTTP inputs, the same every time: made from a seed, so that the repository keeps the recipe and not the megabytes.

`python3 hostile_requests.py FOLDER` writes them as files, for a look or for another tool.
"""
import pathlib
import random
import string
import struct
import sys

from requester import sign

CHANGES, COPY, HELLO, ROWS = "/rowmesh/v1/changes", "/rowmesh/v1/copy", "/rowmesh/v1/hello", "/rowmesh/v1/rows"
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "G\0ET", "", "X" * 300, "PRI"]
VERSIONS = ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1 ", "HTP/1.1", "", "HTTP/1.111111111111"]


def hostile_requests(count, secret, seed=20260101):
    """Yields (name, bytes). 'allowed' in the name: a right request with a right signature, whose answer may be 2xx."""
    chance = random.Random(seed)
    makers = [random_bytes, odd_request_line, odd_headers, framing, long_things, other_protocols, cut_short, pipelined, odd_paths, wrong_signature,
              signed_rubbish, signed_document, signed_bomb, chunks]
    for index in range(count):
        maker = makers[index % len(makers)]
        data = maker(chance, secret)
        name = ("allowed " if maker in (signed_document, signed_rubbish, pipelined) else "") + maker.__name__ + f" {index}"
        yield name, data


def junk(chance, most, alphabet=None):
    length = chance.randrange(1, most)
    return bytes(chance.choices(alphabet or range(256), k=length))


def request(method, path, headers=(), body=b"", version="HTTP/1.1"):
    lines = [f"{method} {path} {version}".encode("utf-8", "surrogatepass"), b"Host: x"]
    lines += [name.encode("utf-8", "surrogatepass") + b": " + (value if isinstance(value, bytes) else str(value).encode()) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def signed(method, path, body, secret, query="", headers=()):
    signature = sign(method, path, query, body, secret)
    return request(method, path + ("?" + query if query else ""), [*signature.items(), *headers, *([("Content-Length", len(body))] if body else [])], body)


def random_bytes(chance, _):
    return junk(chance, 3000)


def odd_request_line(chance, _):
    path = chance.choice([HELLO, "*", "http://elsewhere/", "", "/" * chance.randrange(1, 500), "/\0", "/\xff\xfe", "/ /", "//x", "/%", "/%zz%00"])
    return request(chance.choice(METHODS), path, version=chance.choice(VERSIONS))


def odd_headers(chance, _):
    names = ["X-A", "", ":", " X", "X\0Y", "Host", "Content-Type", "x-rowmesh-node", "x-rowmesh-signature", "X" * 4000, "é"]
    headers = [(chance.choice(names), junk(chance, 200, range(32, 256))) for _ in range(chance.randrange(1, 40))]
    data = request(chance.choice(["GET", "POST"]), HELLO, headers)
    return data.replace(b"\r\n", chance.choice([b"\r\n", b"\n", b"\r\n ", b"\r", b"\n\r"]), chance.randrange(0, 5))


def framing(chance, _):
    lengths = ["0", "1", "-1", "+5", "5 ", "0x5", "5, 5", "99999999999999999999", "18446744073709551615", "", "5\t", "٥", "1e3"]
    headers = [(chance.choice(["Content-Length", "content-length", "Content-Length "]), chance.choice(lengths)) for _ in range(chance.randrange(1, 4))]
    if chance.random() < 0.5:
        headers.append(("Transfer-Encoding", chance.choice(["chunked", "gzip", "chunked, chunked", "identity", "xchunked", " chunked", "chunked\0"])))
    chance.shuffle(headers)
    return request("POST", CHANGES, headers, junk(chance, 100))


def long_things(chance, _):
    size = chance.choice([9000, 33000, 70000, 300000])
    return chance.choice([request("GET", HELLO + "?" + "a" * size), request("GET", "/" + "a" * size), request("GET", HELLO, [("X-Long", "x" * size)]),
                          request("GET", HELLO, [(f"X-{i}", "y") for i in range(size // 20)]), b"G" * size])


def other_protocols(chance, _):
    hello = b"\x16\x03\x01" + struct.pack(">H", 300) + b"\x01\x00\x01\x00\x03\x03" + junk(chance, 300)
    return chance.choice([hello, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + junk(chance, 100), b"SSH-2.0-x\r\n", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"EHLO x\r\n",
                          b"*1\r\n$4\r\nPING\r\n", b"GET /rowmesh/v1/hello\r\n", b"\r\n\r\n\r\n", b"\x05\x01\x00", b"CONNECT x:1 HTTP/1.1\r\n\r\n",
                          request("GET", HELLO, [("Upgrade", "websocket"), ("Connection", "Upgrade")]), request("POST", CHANGES, [("Expect", "100-continue"), ("Content-Length", "5")])])


def cut_short(chance, secret):
    whole = signed("POST", CHANGES, b"{}" * 50, secret)
    return whole[:chance.randrange(1, len(whole) - 60)]


def pipelined(chance, secret):
    return b"".join(chance.choice([request("GET", HELLO), request("GET", "/rowmesh/v1/ping"), signed("GET", HELLO, b"", secret), junk(chance, 50)])
                    for _ in range(chance.randrange(2, 30)))


def odd_paths(chance, secret):
    path = chance.choice(["/../../../../etc/passwd", "/rowmesh/v1/../v1/hello", "/rowmesh/v1/hello/", "/ROWMESH/V1/HELLO", "/rowmesh/v1/hello%20", "/%72owmesh/v1/hello",
                          "/rowmesh/v1/hello;x=1", "/rowmesh/v1//hello", "/api/v1/../../rowmesh/v1/rows", "/rowmesh/v2/hello", "/.git/config", "/wp-login.php"])
    return chance.choice([signed("GET", path, b"", secret), request("GET", path + "?" + junk(chance, 60, string.printable[:80].encode()).decode().replace(" ", "+"))])


def wrong_signature(chance, secret):
    parts = sign("GET", HELLO, "", b"", secret)
    name = chance.choice(list(parts))
    parts[name] = chance.choice([parts[name][:-1], parts[name] + "0", "", "0" * 64, "'" * 100, "-1", "99999999999999999999999", "é" * 10, parts[name].upper() + "z"])
    return request("GET", HELLO, parts.items())


def signed_rubbish(chance, secret):
    """Of somebody who has the secret and means harm, or is broken."""
    body = chance.choice([b"null", b"[]", b"{}", b"{\"tables\":{}}", b"{\"tables\":[" * 1000, b"\xff" * 100, b"{\"tables\":[\"note\"],\"on_existing\":\"\\u0000\"}", junk(chance, 500)])
    query = chance.choice(["table=", "table=zz&after=", "table=6e6f7465&after=" + "ff" * chance.randrange(1, 300), "progress=" + "7b" * 300, "progress=" + b'{"applied":{"x":[]}}'.hex(), "origin=" + "f" * 40])
    return chance.choice([signed("POST", COPY, body, secret), signed("POST", CHANGES, body, secret), signed("GET", ROWS, b"", secret, query),
                          signed("GET", HELLO, b"", secret, query), signed("POST", CHANGES, body, secret, headers=[("Content-Encoding", chance.choice(["zstd", "gzip", "br", ""]))])])


def signed_document(chance, secret):
    """A document that looks right at its beginning."""
    header = (b'{"protocol":1,"kind":"%s","sender":"00000000000000%02x","node":"99999999-9999-4999-8999-999999999999","hlc":%d,"prune_horizon":%d,"horizon":%d,'
              b'"newest":%d,"from":{},"to":{"00000000000000ab":[%d,"1"]},"metas":{},"members":{},"truncates":%s}\n'
              % (chance.choice([b"changes", b"copy", b"else"]), chance.randrange(256), chance.getrandbits(63), chance.getrandbits(63), chance.getrandbits(63),
                 chance.getrandbits(63), chance.getrandbits(40), chance.choice([b"{}", b'{"note":[9223372036854775807,"ab"]}', b'{"note":[]}'])))
    table = b'{"table":0,"name":"%s","columns":[["id","integer"],["text","text"]],"key":[%d],"integer_key":true}\n' % (chance.choice([b"note", b"no\\u0000te", b"\\\"; DROP"]), chance.randrange(3))
    row = chance.choice([b'[0,0,0,0,[1,"x"]]\n', b'[0,9,0,0,[1,"x"]]\n', b'[0,0,99,0,[1]]\n', b'[1,0,[1],0,0]\n', b'[2,0,[1],[]]\n', b'[0,0,0,0,[{"x":1},{"b":"!"}]]\n', b"[" * 5000 + b"\n"])
    trailer = b'{"end":1,"sum":"0000000000000000"}\n'
    return signed("POST", CHANGES, header + table + row * chance.randrange(1, 50) + trailer, secret)


def signed_bomb(chance, secret):
    """A few kilobytes that say they are gigabytes of zeros: a zstd frame of RLE blocks, 128 kB each."""
    blocks = chance.choice([1000, 20000])
    block = struct.pack("<I", 131072 << 3 | 1 << 1)[:3] + b"\0"
    frame = b"\x28\xb5\x2f\xfd" + b"\x00\x58" + block * blocks + struct.pack("<I", 1 << 3 | 1 << 1 | 1)[:3] + b"\0"
    return signed("POST", CHANGES, frame, secret, headers=[("Content-Encoding", "zstd")])


def chunks(chance, _):
    sizes = [b"5\r\nhello\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"-5\r\nhello\r\n", b"5;ext=" + b"x" * 1000 + b"\r\nhello\r\n", b"0\r\nTrailer: x\r\n\r\n", b"5\nhello\n", b"\r\n", b"zz\r\n"]
    return request("POST", CHANGES, [("Transfer-Encoding", "chunked")], b"".join(chance.choices(sizes, k=chance.randrange(1, 8))))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for label, content in hostile_requests(1000, "the secret of the visitor"):
        (folder / label.replace(" ", "-")).write_bytes(content)
