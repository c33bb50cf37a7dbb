"""`etcd://host:port[,host:port…]/prefix`: etcd's v3 API through its JSON gateway (etcd3gw).

    <prefix>/<issuer>/to/<node id>/<epoch>.<stream>.<number>    one envelope; each number has 10 digits
    <prefix>/<issuer>/to/<node id>/challenge                    the newest challenge
    <prefix>/<issuer>/acknowledgements/<node id>                one acknowledgement
    <prefix>/<issuer>/round                                     the number of the last round

A round is one transaction that compares and sets `round`; more than 127 envelopes take several. Values are sealed: a
reader learns node ids, key ids and times, but no key. What lies below `to` is the issuer's to delete.
etcd_members.py chooses the member that is asked.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports.etcd_answers import (
    TooLongError,
    must_be_ok,
    pairs_of,
    pieces_of,
    revision_of,
    succeeded,
)
from tiktrue_keys.fleet.transports.etcd_members import READ_TIMEOUT, EtcdMembers, parse_members
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Junk, Place, Posted

_OPERATIONS = 127  # etcd's --max-txn-ops (default: 128), less one for the round
_BYTES = 1 << 20  # below its --max-request-bytes (default: 1.5 MiB)
_PAGE = 100
_TRIES = 20
_PAUSE = 0.5
_CHALLENGE = "challenge"
_EVENTS, _CANCELED = b'"events"', b'"canceled"'


def open_etcd(rest: str, credentials: Mapping[str, str]) -> Etcd:
    """Return the transport of `//host:port[,…]/prefix`.

    Raises UsageError when it is malformed or etcd3gw is not installed.
    """
    hosts, _, prefix = rest.removeprefix("//").partition("/")
    addresses = parse_members(hosts)
    if not rest.startswith("//") or not prefix.strip("/"):
        raise UsageError(f"'etcd:{rest[:80]}' has no prefix", "etcd://HOST:PORT/PREFIX")
    return Etcd(EtcdMembers(addresses, credentials), prefix.strip("/"))


class Etcd:
    """A prefix of an etcd cluster."""

    def __init__(self, members: EtcdMembers, prefix: str) -> None:
        self._members = members
        self._prefix = prefix
        self._revision = 0

    def publish(self, issuer: str, number: int, posts: Iterable[Posted], sign: Signer) -> None:
        """Put envelopes in transactions, each of which also sets the round's number."""
        puts: list[dict[str, Any]] = []
        size = 0
        for post in posts:
            if len(puts) == _OPERATIONS or size + len(post.line) > _BYTES * 3 // 4:
                self._commit(issuer, number, puts)
                puts, size = [], 0
            key = f"{self._box(issuer, post.node_id)}{_name(post.place)}"
            puts.append({"request_put": {"key": _encoded(key), "value": _encoded(post.line)}})
            size += len(post.line)
        if puts:
            self._commit(issuer, number, puts)

    def collect(self, issuer: str, node_id: str, after: Place, junk: Junk) -> Iterator[bytes]:
        """Yield the lines past `after`, and the one at `after`: it shows whether the issuer still sends the same."""
        box = self._box(issuer, node_id)
        for number, (page, revision) in enumerate(self._pages(box + _place(after), _end_of(box), junk)):
            self._revision = revision if number == 0 else self._revision  # a change after the first page ends `wait`
            for _, line in page:
                if 0 < len(line) <= MAX_LINE:
                    yield line
                else:
                    junk.add("line that is too long" if line else "line that is empty")

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's key."""
        key = f"{self._prefix}/{issuer}/acknowledgements/{node_id}"
        self._members.ask("/kv/put", {"key": _encoded(key), "value": _encoded(line)}, revision_of)

    def acknowledgements(self, issuer: str, node_ids: Iterable[str], junk: Junk) -> Iterator[tuple[str, bytes]]:
        """Yield the acknowledgements of these nodes, read a page at a time."""
        wanted = set(node_ids)
        folder = f"{self._prefix}/{issuer}/acknowledgements/"
        for page, _ in self._pages(folder, _end_of(folder), junk):
            for key, line in page:
                node_id = key.decode("utf-8", "replace").removeprefix(folder)
                if node_id not in wanted:  # unpinned, perhaps
                    continue
                if len(line) <= MAX_LINE:
                    yield node_id, line
                else:
                    junk.add("line that is too long")

    def tidy(self, issuer: str, consumed: Mapping[str, Place], identity_key: bytes) -> None:
        """Delete the envelopes that each node has consumed, except its last one."""
        deletes = [
            {"request_delete_range": {"key": _encoded(box), "range_end": _encoded(box + _place(place))}}
            for box, place in ((self._box(issuer, node_id), place) for node_id, place in consumed.items())
        ]
        for at in range(0, len(deletes), _OPERATIONS):
            self._members.ask("/kv/txn", {"success": deletes[at : at + _OPERATIONS]}, revision_of)

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Watch from the revision of the last `collect`.

        However the watch ends, the next `collect` reads everything.
        """
        end = time.monotonic() + seconds
        try:
            if self._saw_an_event(self._box(issuer, node_id), seconds):
                return
        except (OSError, ValueError):
            if time.monotonic() >= end:
                return
            self._members.turn_to_the_next()
        time.sleep(max(min(_PAUSE, end - time.monotonic()), 0))

    def _saw_an_event(self, box: str, seconds: float) -> bool:
        """Return whether a box changed; False when etcd ended the watch. Raises OSError when no event came in time.

        This replaces etcd3gw's watch (2.7), whose thread swallows the end of the connection: there a killed member
        looks like a silent one. The watch requires a leader, so that it also ends at a member that is cut off from the
        others.
        """
        watch: dict[str, Any] = {
            "key": _encoded(box),
            "range_end": _encoded(_end_of(box)),
            "start_revision": self._revision + 1,
        }
        with self._members.stream("/watch", {"create_request": watch}, seconds=seconds) as said:
            must_be_ok(said)
            tail = b""
            for piece in pieces_of(said, time.monotonic() + seconds):
                tail = tail[-len(_CANCELED) :] + piece  # values are base64, which contains no quote
                if _EVENTS in tail or _CANCELED in tail:
                    return _EVENTS in tail
        return False

    def close(self) -> None:
        """Close every connection."""
        self._members.close()

    def _commit(self, issuer: str, number: int, puts: list[dict[str, Any]]) -> None:
        """Commit one transaction if `round` is unchanged since it was read; otherwise read it again and retry."""
        key = f"{self._prefix}/{issuer}/round"
        put = {"request_put": {"key": _encoded(key), "value": _encoded(str(number))}}
        for _ in range(_TRIES):
            found, _ = self._range(key, key + "\0", 1)
            unchanged = (
                {"key": _encoded(key), "target": "VALUE", "value": _encoded(found[0][1])}
                if found
                else {"key": _encoded(key), "target": "CREATE", "create_revision": 0}
            )
            if self._members.ask("/kv/txn", {"compare": [unchanged], "success": [*puts, put]}, succeeded):
                return
        raise UnavailableError(
            "etcd's round number keeps changing", "check which other process publishes under this prefix"
        )

    def _pages(self, start: str, end: str, junk: Junk) -> Iterator[tuple[list[tuple[bytes, bytes]], int]]:
        """Yield all keys and values in order, a page at a time, with the revision of each page.

        A page of long values is asked for in smaller parts, and a value that is too long is skipped.
        """
        first, limit = start.encode(), _PAGE
        while True:
            try:
                page, revision = self._range(first, end, limit, may_split=True)
            except TooLongError:
                if limit > 1:
                    limit = max(limit // 8, 1)
                    continue
                page, revision = self._range(first, end, 1, keys_only=True)
                if page:
                    junk.add("value that is too long")
                    first = page[-1][0] + b"\0"
                continue
            yield page, revision
            if len(page) < limit:
                return
            first, limit = page[-1][0] + b"\0", min(limit * 2, _PAGE)

    def _range(
        self, start: str | bytes, end: str, limit: int, *, keys_only: bool = False, may_split: bool = False
    ) -> tuple[list[tuple[bytes, bytes]], int]:
        """Return at most `limit` keys and values in order, and their revision."""
        first = start.encode() if isinstance(start, str) else start
        wanted = {"key": _encoded(first), "range_end": _encoded(end), "limit": limit, "keys_only": keys_only}
        return self._members.ask(
            "/kv/range",
            wanted,
            lambda said: (pairs_of(said, first, end.encode(), limit), revision_of(said)),
            timeout=READ_TIMEOUT,
            may_split=may_split,
        )

    def _box(self, issuer: str, node_id: str) -> str:
        return f"{self._prefix}/{issuer}/to/{node_id}/"


def _name(place: Place) -> str:
    """Return the last part of a line's key. That of a challenge sorts behind all envelopes."""
    return _place(place) if place[2] else _CHALLENGE


def _place(place: Place) -> str:
    return ".".join(f"{number:010d}" for number in place)


def _end_of(folder: str) -> str:
    """Return the first key past all that begin with `folder`, which ends in a slash."""
    return folder[:-1] + "0"


def _encoded(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")
