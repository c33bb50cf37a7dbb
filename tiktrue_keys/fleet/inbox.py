"""A node's memory of an issuer: how far the node has come, the audit head that it holds, and the last results.

Come here for how a node detects a fork. There is one row for each issuer, and one more for each past epoch.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.audit.merkle import verify_consistency
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.fleet.acknowledgements import MAX_RESULTS, OK, Result
from tiktrue_keys.fleet.envelopes import Head, Vouched

MAX_SEEN = 64
_KEPT_REFUSALS = MAX_RESULTS // 2
_BYTES = ("envelope", "receipt", "head")
_NEVER = Instant(0)


@dataclass(frozen=True)
class Inbox:
    """How far this node is with one issuer. `head` is None until the first envelope brings one.

    `number` is the last envelope of `stream` that was consumed; `results` are those of the last envelopes. `seen` holds
    short hashes of refused lines, so that each is recorded once. `blocked` says why the next envelope was not consumed.
    `offered` is the next epoch and the head with which it begins, once an envelope has named them.
    """

    issuer: str
    epoch: int
    number: int = 0
    head: Head | None = None
    results: tuple[Result, ...] = ()
    seen: tuple[str, ...] = ()
    blocked: str = ""
    offered: tuple[int, Head] | None = None
    heard_at: Instant = _NEVER
    stream: int = 1

    @property
    def place(self) -> tuple[int, int, int]:
        """Return epoch, stream and number of the last envelope that was consumed."""
        return self.epoch, self.stream, self.number

    def result_of(self, number: int) -> Result | None:
        """Return the result of an envelope of this stream, or None when it is not remembered."""
        return next((each for each in self.results if each.number == number), None)

    def consumed(self, result: Result, stream: int, head: Head, now: Instant) -> Inbox:
        """Return the inbox after one more envelope, which may be the first of a later stream."""
        before = self.results if stream == self.stream else ()
        results = _remembered((*before, result))
        return replace(self, stream=stream, number=result.number, head=head, results=results, blocked="", heard_at=now)

    def with_seen(self, digest: bytes, present: Set[str]) -> Inbox:
        """Return the inbox with a refusal noted.

        When it is full of refusals that still hold (`present`), it is returned unchanged. An attacker who fills a
        transport with garbage therefore cannot fill the audit log.
        """
        kept = self.seen if len(self.seen) < MAX_SEEN else tuple(each for each in self.seen if each in present)
        return replace(self, seen=(*kept, seen_as(digest))) if len(kept) < MAX_SEEN else self

    def has_seen(self, digest: bytes) -> bool:
        """Return whether this was refused and recorded before."""
        return seen_as(digest) in self.seen

    def in_epoch(self, epoch: int, base: Head) -> Inbox:
        """Return the inbox at the beginning of an accepted epoch."""
        return replace(self, epoch=epoch, stream=1, number=0, head=base, results=(), blocked="", offered=None)


def _remembered(results: tuple[Result, ...]) -> tuple[Result, ...]:
    """Return the results that the next acknowledgement repeats, after one more.

    The oldest that is `ok` gives way, so that a node that refuses an envelope and then consumes many in one round still
    tells its issuer.
    """
    if len(results) <= MAX_RESULTS:
        return results
    oldest = results[: _KEPT_REFUSALS + 1]
    dropped = next((place for place, each in enumerate(oldest) if each.outcome == OK), 0)
    return (*results[:dropped], *results[dropped + 1 :])


def seen_as(digest: bytes) -> str:
    """Return the short hash of a line, from its SHA-256."""
    return digest.hex()[:16]


class StaleHeadError(RefusedError):
    """The envelope's audit head is behind the one this node holds, or its proof begins elsewhere.

    It must be re-issued.
    """


def must_continue(held: Head | None, vouched: Vouched) -> Head:
    """Return the head that a node holds after this envelope.

    Raises StaleHeadError when its head is behind or its proof begins elsewhere, IntegrityError for a fork.
    """
    begin = vouched.base if held is None else held
    if vouched.head.size < begin.size or vouched.previous != begin.size:
        raise StaleHeadError(
            f"the envelope's audit head covers {vouched.head.size} records and its proof starts at {vouched.previous},"
            f" this node holds {begin.size}",
            "wait until the issuer re-issues it",
            remedy="reissue-envelope",
        )
    try:
        verify_consistency(begin.size, vouched.head.size, begin.root, vouched.head.root, vouched.proof)
    except IntegrityError as error:
        raise IntegrityError(
            f"the issuer's audit log was forked: {error.message}",
            "its keystore was copied back without a restore, or is in use twice; a proper restore begins a new epoch",
        ) from None
    return vouched.head


def get_inbox(rows: Rows, issuer: str) -> Inbox | None:
    """Return the inbox of an issuer, or None."""
    payload = rows.get(RecordKind.WITNESS, f"issuer {issuer}")
    return _inbox(payload) if payload else None


def put_inbox(rows: Rows, inbox: Inbox) -> None:
    """Store the inbox."""
    rows.put(RecordKind.WITNESS, f"issuer {inbox.issuer}", _json(inbox))


def put_ended_epoch(rows: Rows, inbox: Inbox) -> None:
    """Store the last head of an epoch that has ended. An issuer that returns to that epoch is a fork."""
    head = inbox.head.to_json() if inbox.head else None
    rows.put(RecordKind.WITNESS, f"epoch {inbox.issuer} {inbox.epoch}", {"epoch": inbox.epoch, "audit": head})


def _json(inbox: Inbox) -> dict[str, Any]:
    offered = [inbox.offered[0], inbox.offered[1].to_json()] if inbox.offered else None
    return {
        "issuer": inbox.issuer,
        "epoch": inbox.epoch,
        "number": inbox.number,
        "audit": inbox.head.to_json() if inbox.head else None,
        "results": [each.to_json() | {"head": each.head.hex()} for each in inbox.results],
        "seen": list(inbox.seen),
        "blocked": inbox.blocked,
        "offered": offered,
        "heard_at": inbox.heard_at,
        "stream": inbox.stream,
    }


def _inbox(payload: dict[str, Any]) -> Inbox:
    offered = payload["offered"]
    return Inbox(
        issuer=payload["issuer"],
        epoch=payload["epoch"],
        number=payload["number"],
        head=_head(payload["audit"]) if payload["audit"] else None,
        results=tuple(
            Result(each["number"], each["outcome"], *(bytes.fromhex(each[name]) for name in _BYTES))
            for each in payload["results"]
        ),
        seen=tuple(payload["seen"]),
        blocked=payload["blocked"],
        offered=(offered[0], _head(offered[1])) if offered else None,
        heard_at=Instant(payload["heard_at"]),
        stream=payload.get("stream", 1),
    )


def _head(payload: dict[str, Any]) -> Head:
    return Head(payload["size"], bytes.fromhex(payload["head"]))
