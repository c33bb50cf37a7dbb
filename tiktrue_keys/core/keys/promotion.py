"""Promotion: activates a successor that was published ahead once the notified nodes have it, or its time is up.

Come here for `rotate --prepublish` and `fleet sync`. A node that is silent holds a successor up for a day, or a tenth
of its lifetime where that is shorter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.dispatch.deliveries import holders, requests_of
from tiktrue_keys.core.dispatch.distribution_request import ACKNOWLEDGED, UNDELIVERABLE
from tiktrue_keys.core.dispatch.outbox import PROMOTE, queue
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keys.keyring import must_get_key, put_key
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP, ManagedKey, Status
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction

LONGEST_WAIT = Seconds(DAY)
_WAITING = Owner(RecordKind.NODE, "promotions")


@dataclass(frozen=True)
class Waiting:
    """A successor that waits for promotion: who has it, who of the notified lacks it, and the earliest instant."""

    old: ManagedKey
    new: ManagedKey
    promote_at: Instant
    needed: int
    acknowledged: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def deadline(self) -> Instant:
        """Return when it is promoted whatever the nodes have acknowledged."""
        return Instant(self.promote_at + min(LONGEST_WAIT, self.new.lifetime // 10))

    @property
    def has_acknowledgements(self) -> bool:
        """Return whether enough nodes have it."""
        return len(self.acknowledged) >= self.needed

    def ready(self, now: Instant, *, anyway: bool = False) -> bool:
        """Return whether it may be promoted at `now`. With `anyway` only its instant counts, not the nodes."""
        return now >= self.promote_at and (anyway or self.has_acknowledgements or now >= self.deadline)


def await_promotion(transaction: Transaction, old_key_id: str) -> None:
    """Record that the successor of this key is to be promoted."""
    transaction.rows.put(RecordKind.DELIVERY, f"promotion {old_key_id}", {"old_key_id": old_key_id}, _WAITING)


def waiting(rows: Rows, now: Instant) -> list[Waiting]:
    """Return every successor that waits, the first due first. One that was revoked meanwhile is left out."""
    successors = []
    for payload in rows.owned_by(RecordKind.DELIVERY, _WAITING):
        one = _waiting(rows, payload["old_key_id"], now)
        if one is not None:
            successors.append(one)
    return sorted(successors, key=lambda one: (one.promote_at, one.new.key_id))


def waiting_for(rows: Rows, key: ManagedKey, now: Instant) -> Waiting | None:
    """Return the wait of this pending key, or of this key's pending successor; None when there is none."""
    old_key_id = key.predecessor if key.pending else key.key_id
    return None if old_key_id is None else _waiting(rows, old_key_id, now)


def promote(
    transaction: Transaction, one: Waiting, overlap: Seconds = DEFAULT_OVERLAP
) -> tuple[ManagedKey, ManagedKey]:
    """Activate the successor and queue the news for the nodes that hold it. Return the old and the new key.

    The periods of the successor begin now, so that the wait does not shorten them.
    """
    now, rows = transaction.now, transaction.rows
    stored_old, stored_new = must_get_key(rows, one.old.key_id, now), must_get_key(rows, one.new.key_id, now)
    overlap_ends = Instant(min(now + overlap, max(stored_old.key.decrypt_until, now)))
    old = replace(stored_old.key, rotated_at=now, overlap_ends_at=overlap_ends).at(now)
    new = stored_new.key.promoted(now)
    put_key(rows, old, stored_old.wrapped)
    put_key(rows, new, stored_new.wrapped)
    rows.delete(RecordKind.DELIVERY, f"promotion {old.key_id}")
    transaction.record(
        "promote",
        key_id=new.key_id,
        model_id=new.model_id,
        before=Status.PENDING.value,
        after=new.status.value,
        detail={"predecessor": old.key_id, "acknowledged": len(one.acknowledged), "missing": len(one.missing)},
    )
    queue(transaction, PROMOTE, holders(rows, new.key_id), key_id=new.key_id, generation=new.generation)
    return old, new


def _waiting(rows: Rows, old_key_id: str, now: Instant) -> Waiting | None:
    event: dict[str, Any] | None = rows.get(RecordKind.ROTATION, old_key_id)
    if event is None or event.get("promote_at") is None:
        return None
    old, new = must_get_key(rows, old_key_id, now).key, must_get_key(rows, event["new_key_id"], now).key
    if new.status is not Status.PENDING:
        return None
    requests = [request for request in requests_of(rows, old_key_id) if request.state != UNDELIVERABLE]
    acknowledged = tuple(sorted(request.client for request in requests if request.state == ACKNOWLEDGED))
    missing = tuple(sorted(request.client for request in requests if request.state != ACKNOWLEDGED))
    wanted = event.get("min_acks")
    needed = len(requests) if wanted is None else min(wanted, len(requests))
    return Waiting(old, new, Instant(event["promote_at"]), needed, acknowledged, missing)
