"""Promotion: a successor that was published ahead comes into force once the nodes that were told have it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.dispatch.outbox import PROMOTE, holders, queue, requests_of
from tiktrue_keys.core.dispatch.request import ACKNOWLEDGED, UNDELIVERABLE
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.keyring import must_get_key, put_key
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP, ManagedKey, Status
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction

_WAITING = Owner(RecordKind.NODE, "promotions")


@dataclass(frozen=True)
class Waiting:
    """A successor that waits for its promotion: who has it, who of those told does not, and from when on it may."""

    old: ManagedKey
    new: ManagedKey
    promote_at: Instant
    needed: int
    acknowledged: tuple[str, ...]
    missing: tuple[str, ...]

    def ready(self, now: Instant, *, anyway: bool = False) -> bool:
        """Whether it may be promoted at `now`; `anyway` does not wait for nodes, only for its instant."""
        return now >= self.promote_at and (anyway or len(self.acknowledged) >= self.needed)


def await_promotion(transaction: Transaction, old_key_id: str) -> None:
    """Note that the successor of this key is to be promoted."""
    transaction.rows.put(RecordKind.DELIVERY, f"promotion {old_key_id}", {"old_key_id": old_key_id}, _WAITING)


def waiting(rows: Rows, now: Instant) -> list[Waiting]:
    """Every successor that waits, those that came to nothing (revoked meanwhile) left out."""
    found = []
    for payload in rows.owned_by(RecordKind.DELIVERY, _WAITING):
        each = _waiting(rows, payload["old_key_id"], now)
        if each is not None:
            found.append(each)
    return sorted(found, key=lambda each: (each.promote_at, each.new.key_id))


def promote(
    transaction: Transaction, one: Waiting, overlap: Seconds = DEFAULT_OVERLAP
) -> tuple[ManagedKey, ManagedKey]:
    """Bring the successor into force and queue word of it for the nodes that hold it; returns old and new."""
    now, rows = transaction.now, transaction.rows
    stored_old, stored_new = must_get_key(rows, one.old.key_id, now), must_get_key(rows, one.new.key_id, now)
    overlap_ends = Instant(min(now + overlap, max(stored_old.key.decrypt_until, now)))
    old = replace(stored_old.key, rotated_at=now, overlap_ends_at=overlap_ends).at(now)
    new = replace(stored_new.key, pending=False).at(now)
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
    requests = [each for each in requests_of(rows, old_key_id) if each.state != UNDELIVERABLE]
    acknowledged = tuple(sorted(each.client for each in requests if each.state == ACKNOWLEDGED))
    missing = tuple(sorted(each.client for each in requests if each.state != ACKNOWLEDGED))
    wanted = event.get("min_acks")
    needed = len(requests) if wanted is None else min(wanted, len(requests))
    return Waiting(old, new, Instant(event["promote_at"]), needed, acknowledged, missing)
