"""The members of an etcd cluster, asked one after the other: addresses, credentials, connections, timeouts, caps.

With `ca` (and `cert`, `key`) it speaks TLS; `user` with `password_file` authenticates. Every request tries each member
once; one that forgot our token is asked twice. Does not handle: what is asked, what an answer means (etcd.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from etcd3gw.client import Etcd3Client
    from requests import Response
import contextlib
import json

# A member that has lost its quorum answers after 7 s or never; a revocation has 5 s to reach everyone once it is back.
READ_TIMEOUT, WRITE_TIMEOUT = 2.0, 3.0
_LONGEST_ANSWER = 16 << 20  # a page of the longest lines is 9 MiB in base64
_CHUNK = 1 << 16
_PORT = 2379
_LONGEST_PASSWORD = 4096
_FORGOTTEN = "invalid auth token"
_MEMBER = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_KNOWN = {"user", "password_file", "ca", "cert", "key"}


def parse_members(hosts: str) -> list[tuple[str, int]]:
    """Host and port of each in `host:port[,host:port…]`; UsageError when it is malformed."""
    if "@" in hosts:
        raise UsageError("an address of etcd names no user", "fleet.user and fleet.password_file in the configuration")
    return [_member(each) for each in hosts.split(",")]


class EtcdMembers:
    """Connections to the members, made when they are needed. The one that answered last is asked first.

    UsageError for credentials of which something is missing, or when etcd3gw is not installed.
    """

    def __init__(self, addresses: list[tuple[str, int]], credentials: Mapping[str, str]) -> None:
        _must_go_together(set(credentials))
        try:
            import etcd3gw  # noqa: F401
        except ImportError:
            raise UsageError("etcd needs the package etcd3gw", "pip install 'tiktrue-keys[etcd]'") from None
        self._addresses = addresses
        self._credentials = dict(credentials)
        self._clients: dict[int, Etcd3Client] = {}
        self._first = 0

    def post(self, path: str, payload: dict[str, Any], *, timeout: float = WRITE_TIMEOUT) -> Any:
        """Ask the members one after the other; UnavailableError when none answers."""
        from etcd3gw.exceptions import Etcd3Exception

        last = "no member"
        for step in range(len(self._addresses)):
            place = (self._first + step) % len(self._addresses)
            try:
                said = self._asked(place, path, payload, timeout)
            except (Etcd3Exception, OSError, ValueError) as error:
                last = f"{':'.join(map(str, self._addresses[place]))}: {words_of(error)}"
                self._forget(place)
            else:
                self._first = place
                return said
        raise UnavailableError(f"etcd does not answer: {last[:200]}", hint_for(last))

    def stream(self, path: str, payload: dict[str, Any], *, seconds: float) -> Response:
        """An answer of the first member that goes on, for the caller to read and close; no cap is on it.

        Etcd3Exception, OSError or ValueError when it does not come, OSError too when it is silent for `seconds`. It
        ends when the member is cut off from the others, since a leader is demanded.
        """
        client = self._client(self._first)
        return client.session.post(
            client.get_url(path),
            json=payload,
            headers={"Grpc-Metadata-hasleader": "true"},
            stream=True,
            timeout=(READ_TIMEOUT, seconds),
        )

    def turn_to_the_next(self) -> None:
        """Whoever was asked first is not any more, and its connection is closed."""
        self._forget(self._first)
        self._first = (self._first + 1) % len(self._addresses)

    def close(self) -> None:
        """Close every connection."""
        for place in list(self._clients):
            self._forget(place)

    def _asked(self, place: int, path: str, payload: dict[str, Any], timeout: float) -> Any:
        """What one member says. A token lives for minutes, and not over a member's restart: then it is asked again."""
        from etcd3gw.exceptions import Etcd3Exception

        kept = place in self._clients
        client = self._client(place)
        client.timeout = timeout
        try:
            return client.post(client.get_url(path), json=payload)
        except Etcd3Exception as error:
            if not kept or _FORGOTTEN not in (error.detail_text or ""):
                raise
            self._forget(place)
            client = self._client(place)
            client.timeout = timeout
            return client.post(client.get_url(path), json=payload)

    def _client(self, place: int) -> Etcd3Client:
        if place not in self._clients:
            self._clients[place] = self._connected(*self._addresses[place])
        return self._clients[place]

    def _connected(self, host: str, port: int) -> Etcd3Client:
        """A new client of a member, with a token where there is a user."""
        from etcd3gw.client import Etcd3Client

        given = self._credentials
        client = Etcd3Client(
            host=host,
            port=port,
            protocol="https" if "ca" in given else "http",
            ca_cert=given.get("ca"),
            cert_cert=given.get("cert"),
            cert_key=given.get("key"),
            timeout=READ_TIMEOUT,
            api_path="/v3/",
        )
        client.session.hooks["response"].append(_read_capped)
        client.session.trust_env = False  # no proxy of somebody's environment stands between us and the cluster
        if "user" in given:
            said = client.post(
                client.get_url("/auth/authenticate"),
                json={"name": given["user"], "password": _password(Path(given["password_file"]))},
            )
            client.session.headers["Authorization"] = said["token"]
        return client

    def _forget(self, place: int) -> None:
        client = self._clients.pop(place, None)
        if client is not None:
            client.session.close()


def _read_capped(response: Response, **sent: Any) -> None:
    """Read an answer before requests does, which takes whatever comes; a watch's is read by whoever asked for it."""
    if sent.get("stream"):
        return
    read = bytearray()
    for piece in response.iter_content(_CHUNK):
        read += piece
        if len(read) > _LONGEST_ANSWER:
            response.close()
            raise ConnectionError(f"an answer of more than {_LONGEST_ANSWER} bytes")
    response._content = bytes(read)


def _must_go_together(given: set[str]) -> None:
    """Nothing half: a certificate without its key, or without the authority that makes the connection one of TLS."""
    pairs = (("user", "password_file"), ("cert", "key"))
    whole = all((one in given) == (other in given) for one, other in pairs) and ("cert" not in given or "ca" in given)
    if given - _KNOWN or not whole:
        raise UsageError(
            "etcd takes user with password_file, ca, and cert with key beside ca", "see fleet.* in the configuration"
        )


def _member(text: str) -> tuple[str, int]:
    """Host and port; an IPv6 address stands in brackets, which the client puts back."""
    found = _MEMBER.fullmatch(text)
    port = int(found[2] or _PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise UsageError(f"'{text[:80]}' is no member of etcd", "HOST:PORT")
    return found[1].strip("[]"), port


def _password(path: Path) -> str:
    data = read_capped(path, _LONGEST_PASSWORD, "etcd's password").rstrip(b"\r\n")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"etcd's password in {path} is not text", "UTF-8, in the file's only line") from None


_CAUSE = re.compile(r"\[Errno -?[0-9]+\] ([\w ]+)|\[(?:SSL|X509): (\w+)|(timed out|SSLEOFError|RemoteDisconnected)")
_HINTS = {
    "TLS": "check fleet.ca, fleet.cert and fleet.key",
    "RemoteDisconnected": "does it speak TLS? fleet.ca names its authority",
    "reset by peer": "does it speak TLS? fleet.ca names its authority",
    "authentication failed": "check fleet.user and the file fleet.password_file",
    "user name is empty": "etcd demands a password: fleet.user and fleet.password_file",
    "permission denied": "the user needs to read and write below the prefix",
    "CommonName": "beside a password etcd's gateway takes only a client certificate without a common name",
}


def words_of(error: Exception) -> str:
    """What a member's refusal, or a connection's failure, comes down to."""
    text = getattr(error, "detail_text", None) or str(error) or type(error).__name__
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("message", text))
    cause = _CAUSE.search(text)
    words = " ".join((cause[cause.lastindex or 0] if cause else text).replace("\\n", " ").split())
    return f"TLS: {words}" if "SSL" in text or "TLS" in text else words


def hint_for(words: str) -> str:
    """What to do about it."""
    return next((hint for sign, hint in _HINTS.items() if sign in words), "is its quorum there?")
