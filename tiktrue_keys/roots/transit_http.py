"""One HTTP request to a transit server: bounded in size and time, over TLS except on this machine itself.

Come here for what reaches the network. It follows no redirect and uses no proxy: either would carry the token away.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tiktrue_keys.errors import InsecureError, UnavailableError, UsageError
from tiktrue_keys.roots.trust import must_be_ours

SECONDS = 10.0
"""From the lookup of the name to the last byte of the answer."""
MAX_ANSWER = 64 * 1024
_MAX_RECEIVED = 4 * MAX_ANSWER  # with headers, and the answers 1xx that come before the last one
_LOCAL = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Answer:
    """A status and a JSON object."""

    status: int
    value: dict[str, Any]

    @property
    def errors(self) -> str:
        """What the server says is wrong; for decisions, never for a message."""
        said = self.value.get("errors")
        return " ".join(str(each)[:500] for each in said[:8]).lower() if isinstance(said, list) else ""


@dataclass(frozen=True)
class Server:
    """A server by its address. `ca` is the file of its certificate authority; empty: the system's."""

    secure: bool
    host: str
    port: int
    ca: str = ""

    def post(self, path: str, body: dict[str, str], token: str) -> Answer:
        """Return the answer to a JSON body. Raises UnavailableError when there is none that is whole."""
        return self._request("POST", path, json.dumps(body).encode(), token)

    def get(self, path: str, token: str) -> Answer:
        """Return the answer to a request without a body."""
        return self._request("GET", path, None, token)

    def _request(self, method: str, path: str, body: bytes | None, token: str) -> Answer:
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true", "Content-Type": "application/json"}
        context = self._context()
        until = time.monotonic() + SECONDS
        connection = self._connection()
        try:
            connection.sock = self._connected(context, until)
            connection.request(method, path, body, headers)
            with _answered(connection.sock, method, until) as response:
                data = _read(response)
        except ssl.SSLCertVerificationError as error:
            words = f"transit: the certificate of {self.host} is not valid ({error.verify_message})"
            raise UnavailableError(words, remedy="transit-ca") from error
        except TimeoutError as error:
            words = f"transit: the server {self.host}:{self.port} took longer than {SECONDS:g} s"
            raise UnavailableError(words, remedy="transit-gone") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            words = f"transit: the server {self.host}:{self.port} does not answer ({reason})"
            raise UnavailableError(words, remedy="transit-gone") from error
        finally:
            connection.close()
        return Answer(response.status, _object(data, response.status))

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        return kind(self.host, self.port)

    def _context(self) -> ssl.SSLContext | None:
        if not self.secure:
            return None
        authority = str(must_be_ours(self.ca, "transit: the CA file")) if self.ca else None
        try:
            return ssl.create_default_context(cafile=authority)
        except (ssl.SSLError, OSError) as error:
            raise UsageError(f"transit: {self.ca} holds no certificate", "name a file in PEM form") from error

    def _connected(self, context: ssl.SSLContext | None, until: float) -> socket.socket:
        """Return a connection to the first address of the server that answers, with TLS if there is a context."""
        failure = OSError("it has no address")
        for *_, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            try:
                plain = socket.create_connection((str(address[0]), self.port), _left(until))
            except OSError as error:
                failure = error
                continue
            try:
                plain.settimeout(_left(until))
                sock = context.wrap_socket(plain, server_hostname=self.host) if context else plain
                sock.settimeout(_left(until))
            except BaseException:
                plain.close()
                raise
            return sock
        raise failure


def _answered(sock: socket.socket, method: str, until: float) -> http.client.HTTPResponse:
    """Return the response on a socket once its headers are here."""
    response = http.client.HTTPResponse(sock, method=method)
    response.fp.close()
    response.fp = io.BufferedReader(_Bounded(sock, until))
    try:
        response.begin()
    except BaseException:
        response.fp.close()
        raise
    return response


class _Bounded(io.RawIOBase):
    """What is received on a socket until an instant, and no more than _MAX_RECEIVED bytes of it."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until, self._received = sock, until, 0
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._until))
        count = self._raw.readinto(buffer) or 0
        self._received += count
        if self._received > _MAX_RECEIVED:
            raise UnavailableError(f"transit: the server sent more than {_MAX_RECEIVED} bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(until: float) -> float:
    """Return the seconds that are left. Raises TimeoutError when none are."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def server_of(url: str, ca: str) -> Server:
    """Return the server of `https://host:8200`. Raises UsageError, and InsecureError for http to another machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("https", "http") or not host or not plain or not url.isprintable():
        raise UsageError("transit: the setting url is not the address of a server", "write it like https://bao:8200")
    if parts.scheme == "http" and host not in _LOCAL:
        raise InsecureError(f"transit: http to {host} would send the token in clear", "use https://")
    return Server(parts.scheme == "https", host, port or 8200, ca)


def _read(response: http.client.HTTPResponse) -> bytes:
    """Return the body. Raises UnavailableError when it is too long."""
    data = b""
    while piece := response.read1(8192):
        data += piece
        if len(data) > MAX_ANSWER:
            raise UnavailableError(f"transit: the server's answer is longer than {MAX_ANSWER} bytes")
    return data


def _object(data: bytes, status: int) -> dict[str, Any]:
    """Return the JSON object of an answer; empty for an error that comes with another body, as a proxy sends it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    if status == 200:
        raise UnavailableError("transit: the server's answer is malformed", remedy="transit-gone")
    return {}
