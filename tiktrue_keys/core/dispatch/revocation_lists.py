"""Revocation lists as records: those that this keystore issues, and what it was told by the issuers it pinned.

A list carries what was revoked since the one before it; whoever receives lists keeps the union. It says until when it
may be relied on, so that silence is told from peace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tiktrue_keys.core.dispatch.outbox import LIST, queue
from tiktrue_keys.core.dispatch.peers import NODE, all_progress, roster
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction

VALID_FOR = Seconds(30 * DAY)
RENEWED_AFTER = Seconds(VALID_FOR // 2)
KEYS_A_LIST = 32
REASON_LENGTH = 60
"""Characters of a revocation's reason that travel with it."""


@dataclass(frozen=True)
class Revocation:
    """A revoked key, as lists carry it."""

    key_id: str
    revoked_at: Instant
    reason: str


@dataclass(frozen=True)
class RevocationList:
    """What one list says. `issuer` is a node id."""

    issuer: str
    epoch: int
    number: int
    issued_at: Instant
    valid_until: Instant
    revoked: tuple[Revocation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The canonical members."""
        return asdict(self) | {"revoked": [asdict(each) for each in self.revoked]}


@dataclass(frozen=True)
class KnownList:
    """The newest list of one issuer that this keystore has taken in."""

    epoch: int
    number: int
    issued_at: Instant
    valid_until: Instant


def publish(
    transaction: Transaction, revoked: Sequence[Revocation] = (), *, node_ids: Sequence[str] | None = None
) -> None:
    """Make lists of `revoked` (an empty one without) and queue them for every node, or for `node_ids`."""
    if roster(transaction.rows).count == 0:
        return
    if node_ids is None:
        node_ids = [each.node_id for each in all_progress(transaction.rows).values() if each.role == NODE]
    for at in range(0, max(len(revoked), 1), KEYS_A_LIST):
        number = newest_number(transaction.rows) + 1
        payload = {
            "number": number,
            "issued_at": transaction.now,
            "valid_until": transaction.now + VALID_FOR,
            "revoked": [asdict(each) for each in revoked[at : at + KEYS_A_LIST]],
        }
        transaction.rows.put(RecordKind.REVOCATION_LIST, f"list {number}", payload)
        transaction.rows.put(RecordKind.REVOCATION_LIST, "newest", {"number": number, "issued_at": transaction.now})
        queue(transaction, LIST, node_ids, list_number=number)


def newest_number(rows: Rows) -> int:
    """The number of the newest list that this keystore made; 0 before the first."""
    payload = rows.get(RecordKind.REVOCATION_LIST, "newest")
    return int(payload["number"]) if payload else 0


def wants_renewal(rows: Rows, now: Instant) -> bool:
    """Whether the newest list is past half of its time, and somebody relies on it."""
    payload = rows.get(RecordKind.REVOCATION_LIST, "newest")
    return payload is not None and roster(rows).count > 0 and now >= payload["issued_at"] + RENEWED_AFTER


def issued_list(rows: Rows, number: int, issuer: str, epoch: int) -> RevocationList | None:
    """A list that this keystore made."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"list {number}")
    if payload is None:
        return None
    revoked = tuple(Revocation(**each) for each in payload["revoked"])
    return RevocationList(issuer, epoch, number, payload["issued_at"], payload["valid_until"], revoked)


def keys_on_list(rows: Rows, number: int) -> list[str]:
    """The key ids that a list of this keystore's revokes; none for a list that is not there."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"list {number}")
    return [each["key_id"] for each in payload["revoked"]] if payload else []


def known_list(rows: Rows, issuer: str) -> KnownList | None:
    """The newest list of an issuer that was taken in."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"from {issuer}")
    return KnownList(**payload) if payload else None


def put_known_list(rows: Rows, issuer: str, known: KnownList) -> None:
    """Remember the newest list of an issuer."""
    rows.put(RecordKind.REVOCATION_LIST, f"from {issuer}", asdict(known))


def revocation_of(rows: Rows, key_id: str) -> Revocation | None:
    """What an issuer said about a key, held or not."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"revoked {key_id}")
    return Revocation(**payload) if payload else None


def put_revocation(rows: Rows, revocation: Revocation) -> None:
    """Remember that a key is revoked, for the time when it might still arrive."""
    rows.put(RecordKind.REVOCATION_LIST, f"revoked {revocation.key_id}", asdict(revocation))
