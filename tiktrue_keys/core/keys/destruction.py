"""Destroys keys that are not needed any more, in two recorded runs: the first marks a key, a later one destroys it.

Come here for the reasons why cleanup keeps a key. A key that a registered container needs is never destroyed; a
container that was not registered is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tiktrue_keys.core.containers.claims import all_claims
from tiktrue_keys.core.containers.intents import every_intent
from tiktrue_keys.core.containers.registry import ContainerRecord, every_container
from tiktrue_keys.core.instants import Instant, Seconds, rfc3339
from tiktrue_keys.core.keys.holders import Holding
from tiktrue_keys.core.keys.key_results import Kept
from tiktrue_keys.core.keys.keyring import StoredKey, must_get_key, put_key
from tiktrue_keys.core.keys.lifecycle import ManagedKey, may_be_destroyed
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction

WrapsIn = Callable[[ContainerRecord], frozenset[str] | None]
"""Reads a container's header again: returns the key ids that it names, not authenticated; None when unreadable."""


@dataclass(frozen=True)
class Needs:
    """The ids of keys that are needed: by containers, by unfinished file operations, by containers written to a pipe.

    `containers`, `unfinished` and `claims` map each id to the reason. Claims come from headers that were not
    authenticated.
    """

    containers: dict[str, str]
    unfinished: dict[str, str]
    piped: frozenset[str]
    claims: dict[str, str]


def needs_of(rows: Rows, wraps_in: WrapsIn) -> Needs:
    """Return the keys that are still needed, from a full pass over the registry and the open intents."""
    containers: dict[str, str] = {}
    claims = {
        key_id: f"an unverified header at {claim.path} names it" for claim in all_claims(rows) for key_id in claim.keys
    }
    registered = every_container(rows)
    for record in registered:
        key_ids = wraps_in(record)
        where = record.path or record.file_id.hex()
        reason = f"container {where} " + ("cannot be read" if key_ids is None else "needs it")
        for key_id in record.keys:  # whatever the header says now: it is not authenticated here
            containers.setdefault(key_id, reason)
        for key_id in (key_ids or frozenset()) - record.keys:
            claims.setdefault(key_id, f"the unverified header at {where} names it")
    unfinished = {
        key_id: f"an unfinished {intent.operation} of {intent.path} needs it"
        for intent in every_intent(rows)
        for key_id in intent.needs
    }
    return Needs(containers, unfinished, _piped_keys(registered), claims)


def reason_to_keep(
    key: ManagedKey, needs: Needs, holding: Mapping[str, Holding], confirmed: Iterable[str]
) -> Kept | None:
    """Return why a candidate is kept, or None.

    A confirmation covers containers that cannot be read; it does not cover an operation that is still open.
    """
    if key.key_id in needs.unfinished:
        return Kept(key, needs.unfinished[key.key_id])
    if key.key_id in needs.containers and not (key.key_id in needs.piped and key.key_id in confirmed):
        return Kept(key, needs.containers[key.key_id])
    if key.key_id in needs.claims and key.key_id not in confirmed:
        return Kept(key, needs.claims[key.key_id], remedy="confirm-claim")
    if key.exported and key.key_id not in confirmed:
        return Kept(key, "its public half was exported", remedy="confirm-exported")
    if key.key_id in holding:
        return holding[key.key_id].reason(key, confirmed=key.key_id in confirmed)
    return None


def _piped_keys(registered: list[ContainerRecord]) -> frozenset[str]:
    """Return the keys whose only known containers were written to a pipe.

    Whether these still exist cannot be checked.
    """
    into_pipes = {key_id for record in registered if record.piped for key_id in record.keys}
    in_files = {key_id for record in registered if not record.piped for key_id in record.keys}
    return frozenset(into_pipes - in_files)


def waits(key: ManagedKey, now: Instant, *, lacks_containers: bool) -> Kept | None:
    """Return why a marked key is not destroyed yet, or None when its time has come.

    `lacks_containers`: the registry may lack containers since a restore.
    """
    if key.destroy_at is not None and now < key.destroy_at:
        return Kept(key, f"marked, destroyed by the first cleanup after {rfc3339(key.destroy_at)}")
    if lacks_containers:
        return Kept(key, "a container registered since the restored backup may need it", remedy="registry-lost")
    return None


def is_candidate(key: ManagedKey, now: Instant) -> bool:
    """Return whether cleanup considers the key at all."""
    return may_be_destroyed(key, now) or key.destroy_at is not None


def mark(transaction: Transaction, stored: StoredKey, after: Seconds) -> ManagedKey:
    """Mark a key, in the first run: set the instant from which it may be destroyed."""
    marked = replace(stored.key, destroy_at=Instant(transaction.now + after))
    put_key(transaction.rows, marked, stored.wrapped)
    transaction.record(
        "cleanup-mark",
        key_id=marked.key_id,
        model_id=marked.model_id,
        before=marked.status.value,
        after=marked.status.value,
        detail={"destroy_at": marked.destroy_at},
    )
    return marked


def destroy(transaction: Transaction, stored: StoredKey) -> ManagedKey:
    """Destroy a key, in the second run: remove its wrapped secret and keep a tombstone.

    SQLite overwrites the old row (secure_delete).
    """
    destroyed = replace(stored.key, destroyed_at=transaction.now).at(transaction.now)
    put_key(transaction.rows, destroyed, b"")
    transaction.record(
        "cleanup-destroy",
        key_id=destroyed.key_id,
        model_id=destroyed.model_id,
        before=stored.key.status.value,
        after=destroyed.status.value,
    )
    return destroyed


def cancel(transaction: Transaction, key_id: str) -> ManagedKey | None:
    """Unmark a key and return it; None when it was not marked."""
    stored = must_get_key(transaction.rows, key_id, transaction.now)
    if stored.key.destroy_at is None or stored.key.destroyed_at is not None:
        return None
    cancelled = replace(stored.key, destroy_at=None)
    put_key(transaction.rows, cancelled, stored.wrapped)
    transaction.record(
        "cleanup-cancel",
        key_id=cancelled.key_id,
        model_id=cancelled.model_id,
        before=stored.key.status.value,
        after=cancelled.status.value,
    )
    return cancelled
