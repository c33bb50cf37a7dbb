"""A server in a thread on loopback that answers as a case wants, and one that answers as a transit engine does."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

Reply = tuple[int, bytes]
Say = Callable[[str, dict[str, Any]], Reply]
"""Takes the path and the body; returns status and body."""


def engine(path: str, body: dict[str, Any]) -> Reply:
    """Answer as a transit engine whose encryption is base64."""
    if "encrypt" in path:
        return 200, json.dumps({"data": {"ciphertext": "vault:v1:" + body["plaintext"]}}).encode()
    plain = body["ciphertext"].removeprefix("vault:v1:")
    return 200, json.dumps({"data": {"plaintext": base64.b64encode(base64.b64decode(plain)).decode()}}).encode()


@contextmanager
def server(say: Say, context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server, and the tokens that it was sent."""
    tokens: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tokens.append(self.headers["X-Vault-Token"])
            length = int(self.headers.get("Content-Length") or 0)
            status, body = say(self.path, json.loads(self.rfile.read(length) or b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 307:
                self.send_header("Location", f"http://127.0.0.1:{listening.server_port}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815  the name that http.server calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
            pass

    class Quiet(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{listening.server_port}", tokens
    finally:
        listening.shutdown()
        listening.server_close()
