"""`etcd://host:port[,host:port…]/prefix`: etcd's v3 API through its JSON gateway (etcd3gw).

    <prefix>/<issuer>/to/<node id>/<epoch, 10 digits>.<number, 10 digits>    one envelope
    <prefix>/<issuer>/acknowledgements/<node id>                             one acknowledgement
    <prefix>/<issuer>/round                                                  how many rounds were published

A round is one transaction that compares and raises `round`; more than 127 envelopes take several. Values are sealed: a
reader learns node ids, key ids and times, no key. With `ca` (and `cert`, `key`) it speaks TLS; `user` with
`password_file` authenticates. Every request tries each member once.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports.interface import MAX_LINE, MAX_LINES, Posted

if TYPE_CHECKING:
    from etcd3gw.client import Etcd3Client

_OPERATIONS = 127  # etcd's --max-txn-ops is 128 unless told otherwise; one is for the round
_BYTES = 1 << 20  # its --max-request-bytes is 1.5 MiB
_PAGE = 100
_TRIES = 20
_TIMEOUT = 5.0
_PAUSE = 0.5
_PORT = 2379
_KNOWN = {"user", "password_file", "ca", "cert", "key"}


def open_etcd(rest: str, credentials: Mapping[str, str]) -> Etcd:
    """The transport of `//host:port[,…]/prefix`; UsageError when it is malformed or etcd3gw is not installed."""
    hosts, _, prefix = rest.removeprefix("//").partition("/")
    members = [_member(each) for each in hosts.split(",")]
    if not rest.startswith("//") or not prefix.strip("/"):
        raise UsageError(f"'etcd:{rest[:80]}' has no prefix", "etcd://HOST:PORT/PREFIX")
    if set(credentials) - _KNOWN or ("user" in credentials) != ("password_file" in credentials):
        raise UsageError("etcd takes user with password_file, ca, cert and key", "see fleet.* in the configuration")
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
        start = box + _place(after[0], after[1])
        found, self._revision = self._range(start, _end_of(box), MAX_LINES)
        return [line for _, line in found if 0 < len(line) <= MAX_LINE]

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's key."""
        key = f"{self._prefix}/{issuer}/acknowledgements/{node_id}"
        self._post("/kv/put", {"key": _encoded(key), "value": _encoded(line)})

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """All of them, a page at a time."""
        wanted = set(node_ids)
        folder = f"{self._prefix}/{issuer}/acknowledgements/"
        start = folder
        while True:
            page, _ = self._range(start, _end_of(folder), _PAGE)
            for key, line in page:
                if key.removeprefix(folder) in wanted and len(line) <= MAX_LINE:
                    yield key.removeprefix(folder), line
            if len(page) < _PAGE:
                return
            start = page[-1][0] + "\0"

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
        from etcd3gw.exceptions import WatchTimedOut

        began = time.monotonic()
        try:
            client = self._client(self._first)
            box = self._box(issuer, node_id)
            # Not watch_prefix_once: etcd3gw 2.7 encodes its range_end twice, and the watch sees nothing.
            client.watch_once(box, seconds, range_end=_end_of(box), start_revision=self._revision + 1)
        except WatchTimedOut:
            return
        except Exception:  # noqa: BLE001  the watch is a hint: compaction, a lost member and the gateway's own errors end it
            self._forget(self._first)
            self._first = (self._first + 1) % len(self._members)
            time.sleep(max(min(_PAUSE, seconds - (time.monotonic() - began)), 0))

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

    def _range(self, start: str, end: str, limit: int) -> tuple[list[tuple[str, bytes]], int]:
        """Keys and values in order, at most `limit`, and the revision that they are of."""
        said = self._post("/kv/range", {"key": _encoded(start), "range_end": _encoded(end), "limit": limit})
        found = [(_text(each["key"]), base64.b64decode(each.get("value", ""))) for each in said.get("kvs", [])]
        return found, int(said["header"]["revision"])

    def _post(self, path: str, payload: dict[str, Any]) -> Any:
        """Ask the members one after the other; UnavailableError when none answers."""
        from etcd3gw.exceptions import Etcd3Exception

        last = "no member"
        for step in range(len(self._members)):
            place = (self._first + step) % len(self._members)
            try:
                client = self._client(place)
                said = client.post(client.get_url(path), json=payload)
            except (Etcd3Exception, OSError, ValueError) as error:
                last = getattr(error, "detail_text", None) or str(error) or type(error).__name__
                self._forget(place)
            else:
                self._first = place
                return said
        raise UnavailableError(f"etcd does not answer: {str(last)[:200]}", "is its quorum there?")

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
                timeout=_TIMEOUT,
                api_path="/v3/",
            )
            client.session.trust_env = False  # no proxy of somebody's environment stands between us and the cluster
            if "user" in given:
                password = read_capped(Path(given["password_file"]), 4096, "etcd's password").rstrip(b"\r\n").decode()
                said = client.post(
                    client.get_url("/auth/authenticate"), json={"name": given["user"], "password": password}
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


def _member(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(_PORT))
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UsageError(f"'{text[:80]}' is no member of etcd", "HOST:PORT")
    return host, int(port)


def _place(epoch: int, number: int) -> str:
    return f"{epoch:010d}.{number:010d}"


def _end_of(folder: str) -> str:
    """The first key past all that begin with `folder`, which ends in a slash."""
    return folder[:-1] + "0"


def _encoded(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("utf-8", "replace")
