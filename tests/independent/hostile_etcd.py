"""Members that answer as etcd does not: the bytes that they write, and the server that writes them.

The server is a thread on loopback; no etcd is needed. Nothing here knows the package.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tests.waiting import PATIENCE

Say = Callable[[str, dict[str, Any]], Iterator[bytes]]
"""What a server writes in answer to a path and the request's object."""


@contextmanager
def server(say: Say) -> Iterator[int]:
    """Yield the port of a server that writes what it is told, and then ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, say), daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def _serve(listening: socket.socket, say: Say) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, suppress(OSError), connection.makefile("rb") as request:
            path = request.readline().split()[1].decode()
            length = 0
            while (line := request.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            for piece in say(path, json.loads(request.read(length))):
                connection.sendall(piece)


def raw(*pieces: bytes) -> Say:
    """The same bytes to everything."""
    return lambda path, request: iter(pieces)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> Say:
    """An answer that is well-formed as HTTP."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return raw("\r\n".join(head).encode(), body)


def endless(head: str) -> Say:
    """A body that does not end, in large pieces."""

    def say(path: str, request: dict[str, Any]) -> Iterator[bytes]:
        yield f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode()
        for _ in range(256):
            yield b" " * (1 << 20)

    return say


HEADER = b'"header": {"revision": "1"}'
MALFORMED = [
    b"[]",
    b"null",
    b'"text"',
    b"7",
    b"{}",
    b"{",
    b"",
    b"\xff\xfe{\x00}\x00",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"<html><body>Welcome to nginx!</body></html>",
    b"1" * 5000,
    b'{"header": null}',
    b'{"header": []}',
    b'{"header": {"revision": "much"}}',
    b'{"header": {"revision": "-1"}}',
    b'{"header": {"revision": -1}}',
    b'{"header": {"revision": "1_0"}}',
    b'{"header": {"revision": true}}',
    b'{"header": {"revision": 1.5}}',
    b'{"header": {"revision": Infinity}}',
    b'{"header": {"revision": null}}',
    b'{"header": {"revision": "9223372036854775808"}}',
    b'{"header": {"revision": "' + b"9" * 5000 + b'"}}',
]
"""Bodies that are an answer to nothing."""

NO_PAGE = [
    b'"kvs": null',
    b'"kvs": {}',
    b'"kvs": "text"',
    b'"kvs": 7',
    b'"kvs": [[]]',
    b'"kvs": [null]',
    b'"kvs": [{}]',
    b'"kvs": [{"key": "%%%"}]',
    b'"kvs": [{"key": "A"}]',
    b'"kvs": [{"key": 7}]',
    b'"kvs": [{"key": "cA==", "value": null}]',
    b'"kvs": [{"key": "cA==", "value": "%%%"}]',
    b'"kvs": [{"key": "cA=="}, {"key": "cA=="}]',
    b'"kvs": [{"key": "cA=="}]',
    b'"kvs": [' + b",".join([b"{}"] * 1000) + b"]",
]
"""Pages that were not asked for, beside a header that is right."""

NO_HTTP = {
    "nothing": raw(),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "a binary protocol": raw(b"\x16\x03\x01\x00\x05hello" * 100),
    "a status that is none": raw(b"HTTP/1.1 nine OK\r\n\r\n"),
    "a header without end": raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000),
    "many headers": raw(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000, b"\r\n{}"),
    "a body cut short": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "a chunk cut short": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"),
    "a chunk that is none": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{\r\n"),
    "a compressed body": answer(b"\x1f\x8b\x08", "200 OK", "Content-Encoding: gzip"),
    "no content": answer(b"", "204 No Content"),
    "HTML": answer(b"<html>" * 10, "404 Not Found", "Content-Type: text/html; charset=none"),
    "an error that is none": answer(b'{"message": ' * 300, "500 Internal Server Error"),
    "an error of another type": answer(b"[7]", "503 Service Unavailable"),
    "an error without end": endless("500 Internal Server Error"),
    "a body without end": endless("200 OK"),
    "elsewhere": answer(b"", "302 Found", "Location: http://127.0.0.1:1/"),
    "elsewhere, without end": endless("307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/"),
}

ANSWERS: Mapping[str, Say] = {
    **{f"malformed {number}": answer(body) for number, body in enumerate(MALFORMED)},
    **{f"page {number}": answer(b"{" + kvs + b", " + HEADER + b"}") for number, kvs in enumerate(NO_PAGE)},
    **NO_HTTP,
}
"""Everything above, by a name."""
