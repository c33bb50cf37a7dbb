"""`etcd://host:port[,host:port…]/prefix`: etcd's v3 API through its JSON gateway (etcd3gw).

    <prefix>/<issuer>/to/<node id>/<epoch, 10 digits>.<number, 10 digits>    one envelope
    <prefix>/<issuer>/acknowledgements/<node id>                             one acknowledgement
    <prefix>/<issuer>/round                                                  how many rounds were published

A round is one transaction that compares and raises `round`; more than 127 envelopes take several. Values are sealed: a
reader learns node ids, key ids and times, no key. With `ca` (and `cert`, `key`) it speaks TLS; `user` with
`password_file` authenticates. Every request tries each member once; one that forgot our token is asked twice.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports.etcd_trouble import hint_for, words_of
from tiktrue_keys.fleet.transports.interface import MAX_LINE, MAX_LINES, Posted

if TYPE_CHECKING:
    from etcd3gw.client import Etcd3Client
    from requests import Response

_OPERATIONS = 127  # etcd's --max-txn-ops is 128 unless told otherwise; one is for the round
_BYTES = 1 << 20  # its --max-request-bytes is 1.5 MiB
_PAGE = 100
_LONGEST_ANSWER = 16 << 20  # a page of the longest lines is 9 MiB in base64
_CHUNK = 1 << 16
_TRIES = 20
# A member that has lost its quorum answers after 7 s or never; a revocation has 5 s to reach everyone once it is back.
_READ_TIMEOUT, _WRITE_TIMEOUT = 2.0, 3.0
_PAUSE = 0.5
_PORT = 2379
_LONGEST_PASSWORD = 4096
_EVENTS, _CANCELED, _PIECE = b'"events"', b'"canceled"', 4096
_FORGOTTEN = "invalid auth token"
_MEMBER = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_KNOWN = {"user", "password_file", "ca", "cert", "key"}


def open_etcd(rest: str, credentials: Mapping[str, str]) -> Etcd:
    """The transport of `//host:port[,…]/prefix`; UsageError when it is malformed or etcd3gw is not installed."""
    hosts, _, prefix = rest.removeprefix("//").partition("/")
    if "@" in hosts:
        raise UsageError("an address of etcd names no user", "fleet.user and fleet.password_file in the configuration")
    members = [_member(each) for each in hosts.split(",")]
    if not rest.startswith("//") or not prefix.strip("/"):
        raise UsageError(f"'etcd:{rest[:80]}' has no prefix", "etcd://HOST:PORT/PREFIX")
    _must_go_together(set(credentials))
    try:
        import etcd3gw  # noqa: F401
    except ImportError:
        raise UsageError("etcd needs the package etcd3gw", "pip install 'tiktrue-keys[etcd]'") from None
    return Etcd(members, prefix.strip("/"), credentials)


class Etcd:
    """A prefix of an etcd cluster."""

    def __init__(self, members: list[tuple[str, int]], prefix: str, credentials: Mapping[str, str]) -> None:
        self._members = members
        self._prefix = prefix
        self._credentials = dict(credentials)
        self._clients: dict[int, Etcd3Client] = {}
        self._first = 0
        self._revision = 0

    def publish(self, issuer: str, posts: Iterable[Posted]) -> None:
        """Put envelopes in rounds of one transaction each."""
        puts: list[dict[str, Any]] = []
        size = 0
        for post in posts:
            if len(puts) == _OPERATIONS or size + len(post.line) > _BYTES * 3 // 4:
                self._publish_round(issuer, puts)
                puts, size = [], 0
            key = f"{self._box(issuer, post.node_id)}{_place(post.epoch, post.number)}"
            puts.append({"request_put": {"key": _encoded(key), "value": _encoded(post.line)}})
            size += len(post.line)
        if puts:
            self._publish_round(issuer, puts)

    def collect(self, issuer: str, node_id: str, after: tuple[int, int]) -> list[bytes]:
        """The lines past `after`, and the last one before: it shows whether the issuer says the same as it did."""
        box = self._box(issuer, node_id)
        found: list[bytes] = []
        for number, (page, revision) in enumerate(self._pages(box + _place(after[0], after[1]), _end_of(box))):
            self._revision = revision if number == 0 else self._revision  # what comes after the first page wakes us up
            found += [line for _, line in page if 0 < len(line) <= MAX_LINE]
            if (number + 1) * _PAGE >= MAX_LINES:
                break
        return found

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's key."""
        key = f"{self._prefix}/{issuer}/acknowledgements/{node_id}"
        self._post("/kv/put", {"key": _encoded(key), "value": _encoded(line)})

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """All of them, a page at a time."""
        wanted = set(node_ids)
        folder = f"{self._prefix}/{issuer}/acknowledgements/"
        for page, _ in self._pages(folder, _end_of(folder)):
            for key, line in page:
                node_id = key.decode("utf-8", "replace").removeprefix(folder)
                if node_id in wanted and len(line) <= MAX_LINE:
                    yield node_id, line

    def tidy(self, issuer: str, consumed: Mapping[str, tuple[int, int]]) -> None:
        """Delete what each node has consumed, but for its last envelope."""
        deletes = [
            {"request_delete_range": {"key": _encoded(box), "range_end": _encoded(box + _place(epoch, number))}}
            for box, (epoch, number) in ((self._box(issuer, node_id), place) for node_id, place in consumed.items())
        ]
        for at in range(0, len(deletes), _OPERATIONS):
            self._post("/kv/txn", {"success": deletes[at : at + _OPERATIONS]})

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Watch from the revision of the last `collect`; whatever ends the watch, the next `collect` reads all."""
        from etcd3gw.exceptions import Etcd3Exception

        end = time.monotonic() + seconds
        try:
            if self._saw_an_event(self._box(issuer, node_id), seconds):
                return
        except (Etcd3Exception, OSError, ValueError):
            if time.monotonic() >= end:
                return
            self._forget(self._first)
            self._first = (self._first + 1) % len(self._members)
        time.sleep(max(min(_PAUSE, end - time.monotonic()), 0))

    def _saw_an_event(self, box: str, seconds: float) -> bool:
        """Whether something changed in a box; False where etcd ended the watch, OSError when nothing came in time.

        Not etcd3gw's watch (2.7): its thread swallows the end of the connection, so that a member that is killed looks
        like one that is silent. A member that is cut off from the others ends it too, since a leader is demanded.
        """
        client = self._client(self._first)
        watch: dict[str, Any] = {
            "key": _encoded(box),
            "range_end": _encoded(_end_of(box)),
            "start_revision": self._revision + 1,
        }
        with client.session.post(
            client.get_url("/watch"),
            json={"create_request": watch},
            headers={"Grpc-Metadata-hasleader": "true"},
            stream=True,
            timeout=(_READ_TIMEOUT, seconds),
        ) as said:
            tail = b""
            for piece in said.iter_content(_PIECE):
                tail = tail[-len(_CANCELED) :] + piece  # values are base64, in which no quote can stand
                if _EVENTS in tail or _CANCELED in tail:
                    return _EVENTS in tail
        return False

    def close(self) -> None:
        """Close every connection."""
        for place in list(self._clients):
            self._forget(place)

    def _publish_round(self, issuer: str, puts: list[dict[str, Any]]) -> None:
        """One transaction, on condition that nobody published since `round` was read; else it is read again."""
        key = f"{self._prefix}/{issuer}/round"
        for _ in range(_TRIES):
            found, _ = self._range(key, key + "\0", 1)
            number = int(found[0][1]) if found and found[0][1].isdigit() else 0
            unchanged = (
                {"key": _encoded(key), "target": "VALUE", "value": _encoded(found[0][1])}
                if found
                else {"key": _encoded(key), "target": "CREATE", "create_revision": 0}
            )
            raised = {"request_put": {"key": _encoded(key), "value": _encoded(str(number + 1))}}
            done = self._post("/kv/txn", {"compare": [unchanged], "success": [*puts, raised]})
            if done.get("succeeded"):
                return
        raise UnavailableError("etcd's round is changed again and again", "who else publishes under this prefix?")

    def _pages(self, start: str, end: str) -> Iterator[tuple[list[tuple[bytes, bytes]], int]]:
        """All keys and values in order, some at a time, each time with the revision that they are of."""
        first = start.encode()
        while True:
            page, revision = self._range(first, end, _PAGE)
            yield page, revision
            if len(page) < _PAGE or page[-1][0] < first:
                return
            first = page[-1][0] + b"\0"

    def _range(self, start: str | bytes, end: str, limit: int) -> tuple[list[tuple[bytes, bytes]], int]:
        """Keys and values in order, at most `limit`, and the revision that they are of."""
        wanted = {"key": _encoded(start), "range_end": _encoded(end), "limit": limit}
        said = self._post("/kv/range", wanted, timeout=_READ_TIMEOUT)
        kvs = said.get("kvs", [])[:limit]
        found = [(base64.b64decode(each["key"]), base64.b64decode(each.get("value", ""))) for each in kvs]
        return found, int(said["header"]["revision"])

    def _post(self, path: str, payload: dict[str, Any], *, timeout: float = _WRITE_TIMEOUT) -> Any:
        """Ask the members one after the other; UnavailableError when none answers."""
        from etcd3gw.exceptions import Etcd3Exception

        last = "no member"
        for step in range(len(self._members)):
            place = (self._first + step) % len(self._members)
            try:
                said = self._asked(place, path, payload, timeout)
            except (Etcd3Exception, OSError, ValueError) as error:
                last = f"{':'.join(map(str, self._members[place]))}: {words_of(error)}"
                self._forget(place)
            else:
                self._first = place
                return said
        raise UnavailableError(f"etcd does not answer: {last[:200]}", hint_for(last))

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
        from etcd3gw.client import Etcd3Client

        if place not in self._clients:
            host, port = self._members[place]
            given = self._credentials
            client = Etcd3Client(
                host=host,
                port=port,
                protocol="https" if "ca" in given else "http",
                ca_cert=given.get("ca"),
                cert_cert=given.get("cert"),
                cert_key=given.get("key"),
                timeout=_READ_TIMEOUT,
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
            self._clients[place] = client
        return self._clients[place]

    def _forget(self, place: int) -> None:
        client = self._clients.pop(place, None)
        if client is not None:
            client.session.close()

    def _box(self, issuer: str, node_id: str) -> str:
        return f"{self._prefix}/{issuer}/to/{node_id}/"


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


def _place(epoch: int, number: int) -> str:
    return f"{epoch:010d}.{number:010d}"


def _end_of(folder: str) -> str:
    """The first key past all that begin with `folder`, which ends in a slash."""
    return folder[:-1] + "0"


def _encoded(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")
