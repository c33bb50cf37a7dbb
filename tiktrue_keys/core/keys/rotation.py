"""Rotation: gives a key a successor, and an overlap in which the old key decrypts without a warning.

Come here for the rules and terms of a rotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tiktrue_keys.core.dispatch.distribution_request import QUEUED, KeyDistributionRequest
from tiktrue_keys.core.dispatch.outbox import KEY, nodes_among, queue, undeliverable
from tiktrue_keys.core.instants import Instant, Seconds, rfc3339
from tiktrue_keys.core.keys.authority import must_be_made_here
from tiktrue_keys.core.keys.creation import KeyTerms, must_be_whole, new_key, store_successor
from tiktrue_keys.core.keys.key_results import Failure, Rotation
from tiktrue_keys.core.keys.keyring import StoredKey, all_keys, chain_of, find_key, head_ids, put_heads, put_key
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP, MAX_LIFETIME, ManagedKey, Status
from tiktrue_keys.core.keys.promotion import await_promotion, waiting_for
from tiktrue_keys.core.keys.rotation_event import KeyRotationEvent
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.errors import (
    RefusedError,
    RevokedError,
    UsageError,
    WrongLicenseError,
)

MAX_CLIENTS = 256
_MAX_CLIENT_NAME = 128


@dataclass(frozen=True)
class RotationTerms:
    """How to rotate. `lifetime` None means that of the old key. `fingerprint` names the binding of the new keys.

    `clients` are notified, and every node with `notify_all`. With `prepublish` the successor stays pending for at least
    that many seconds, and until `min_acks` nodes (None: all that are notified) have it. `rotate_every` and
    `rotate_before` None mean those of the old key.
    """

    overlap: Seconds = DEFAULT_OVERLAP
    lifetime: Seconds | None = None
    clients: tuple[str, ...] = ()
    fingerprint: str = ""
    notify_all: bool = False
    prepublish: Seconds | None = None
    min_acks: int | None = None
    rotate_every: Seconds | None = None
    rotate_before: Seconds | None = None

    def check(self) -> None:
        """Raise UsageError for a period or a client's name that is out of bounds."""
        must_be_whole(self.overlap)
        if not 0 <= self.overlap <= MAX_LIFETIME:
            raise UsageError("the overlap is out of bounds")
        if self.lifetime is not None:
            KeyTerms(lifetime=self.lifetime).check()
        self._check_prepublish()
        if len(self.clients) > MAX_CLIENTS:
            raise UsageError(f"at most {MAX_CLIENTS} clients can be named", "pass notify_all=True", remedy="notify-all")
        for client in self.clients:
            if not (0 < len(client) <= _MAX_CLIENT_NAME and client.isprintable()):
                raise UsageError(f"'{client[:40]}' is not a client's name")

    def _check_prepublish(self) -> None:
        if self.prepublish is not None:
            must_be_whole(self.prepublish)
            if not 0 <= self.prepublish <= MAX_LIFETIME:
                raise UsageError("the time to publish ahead is out of bounds")
        if self.min_acks is not None and (self.prepublish is None or self.min_acks < 0):
            raise UsageError(
                "acknowledgements are only waited for when the successor is published ahead",
                "pass prepublish, or leave min_acks out",
                remedy="min-acks-needs-prepublish",
            )


def every_rotatable_key(rows: Rows, now: Instant) -> list[StoredKey]:
    """Return the keys that `rotate --all` rotates: the newest key of each chain, if it is active or expired."""
    rotatable = [stored for stored in all_keys(rows, now) if _is_rotatable(stored.key)]
    return sorted(rotatable, key=lambda stored: stored.key.order)


def named_keys(rows: Rows, arguments: Sequence[str], now: Instant) -> list[StoredKey]:
    """Return the keys that the arguments name, each one once.

    Raises RevokedError or RefusedError for the first that cannot be rotated.
    """
    named: dict[str, StoredKey] = {}
    for argument in arguments:
        stored = find_key(rows, argument, now)
        if argument != stored.key.model_id or not needs_renewal(rows, stored.key, now):
            _must_not_wait(rows, stored.key, now)
            must_be_rotatable(stored.key)
        named[stored.key.key_id] = stored
    return list(named.values())


def newest_of(rows: Rows, key: ManagedKey, now: Instant) -> ManagedKey:
    """Return the newest key of the chain of a key."""
    return key if key.successor is None else chain_of(rows, key, now)[-1].key


def needs_renewal(rows: Rows, key: ManagedKey, now: Instant) -> bool:
    """Return whether the model that names this key lacks one that encrypts, or will: its newest key is revoked, or it
    waits while the one before it is not active.
    """
    newest = newest_of(rows, key, now)
    if newest.status is Status.PENDING:
        return key.status is not Status.ACTIVE
    return newest.status is Status.REVOKED


def _must_not_wait(rows: Rows, key: ManagedKey, now: Instant) -> None:
    """Raise RefusedError for a key that waits for its promotion, or whose successor does."""
    one = waiting_for(rows, key, now)
    if one is None or key.status is Status.REVOKED:
        return
    since = rfc3339(one.promote_at) or ""
    words = f"key {one.new.key_id} waits for promotion from {since}"
    if key.key_id != one.new.key_id:
        words = f"key {key.key_id} has the successor {one.new.key_id}, which waits for promotion from {since}"
    if one.old.status is not Status.ACTIVE:
        raise RefusedError(
            words, "rotate the model", key_id=key.key_id, remedy="rotate-model", about={"model": key.model_id}
        )
    raise RefusedError(
        words, "rotate it once it is promoted", key_id=key.key_id, remedy="promote", about={"promote_at": since}
    )


def must_be_rotatable(key: ManagedKey) -> None:
    """Raise RevokedError or RefusedError for a key that cannot have a successor."""
    if key.status is Status.REVOKED:
        raise RevokedError(
            f"key {key.key_id} is revoked",
            "rotate its model",
            key_id=key.key_id,
            remedy="rotate-model",
            about={"model": key.model_id},
        )
    if key.successor is not None:
        raise RefusedError(
            f"key {key.key_id} has the successor {key.successor}",
            "rotate that one",
            key_id=key.key_id,
            remedy="rotate-successor",
            about={"successor": key.successor},
        )
    if not _is_rotatable(key):
        destroyed = key.status is Status.DESTROYED
        raise RefusedError(
            f"key {key.key_id} is {key.status.value} and cannot be rotated",
            "generate a key for its model" if destroyed else "rotate it once its issuer has promoted it",
            key_id=key.key_id,
            remedy="generate-key" if destroyed else "",
            about={"model": key.model_id},
        )


def _is_rotatable(key: ManagedKey) -> bool:
    return key.status in (Status.ACTIVE, Status.EXPIRED) and key.successor is None


def split_by_license(
    planned: Iterable[StoredKey], opened: RecognisedLicense | None
) -> tuple[list[StoredKey], list[Failure]]:
    """Return the keys that this license (or none) can rotate, and the others as failures with the reason."""
    mine, others = [], []
    for stored in planned:
        key = stored.key
        if key.license_tag is None or (opened is not None and key.license_tag == opened.tag):
            mine.append(stored)
        else:
            text = f"key {key.key_id} belongs to license {key.license_tag}"
            error = WrongLicenseError(text, "pass that license", key_id=key.key_id, remedy="needs-license")
            others.append(Failure(key.key_id, error))
    return mine, others


def rotate_key(
    transaction: Transaction, keys: RootKeys, stored: StoredKey, terms: RotationTerms, opened: RecognisedLicense | None
) -> Rotation:
    """Give one key its successor. `stored` is the key as this transaction reads it.

    Raises RevokedError for a revoked key, and RefusedError for one that cannot be rotated or came from an issuer. A
    node that has not acknowledged the rotation before does not hold up this one.
    """
    now = transaction.now
    key = stored.key.at(now)
    must_be_rotatable(key)
    must_be_made_here(key)
    old, new = linked(key, now, terms, opened)
    promote_at = None if terms.prepublish is None else Instant(now + terms.prepublish)
    store_rotation(transaction, keys, stored, old, new, opened, promote_at=promote_at, min_acks=terms.min_acks)
    transaction.record(
        "rotate",
        key_id=old.key_id,
        model_id=old.model_id,
        before=key.status.value,
        after=old.status.value,
        detail={"successor": new.key_id, "generation": new.generation, "clients": len(terms.clients)},
    )
    return Rotation(old, new)


def linked(
    key: ManagedKey, now: Instant, terms: RotationTerms, opened: RecognisedLicense | None
) -> tuple[ManagedKey, ManagedKey]:
    """Return the old key as it will be, and its successor, which keeps the old key's periods and labels."""
    lifetime = terms.lifetime if terms.lifetime is not None else key.lifetime
    every = key.rotate_every if terms.rotate_every is None else terms.rotate_every
    before = key.rotate_before if terms.rotate_before is None else terms.rotate_before
    new_terms = KeyTerms(lifetime, Seconds(key.decrypt_until - key.expires_at), key.labels, every, before)
    if (terms.rotate_every, terms.rotate_before, terms.lifetime) != (None, None, None):
        new_terms.check()
    using = opened if key.license_tag is not None else None
    new = new_key(
        key.model_id, key.generation + 1, now, new_terms, using, predecessor=key, fingerprint=terms.fingerprint
    )
    if terms.prepublish is not None:
        return replace(key, successor=new.key_id).at(now), replace(new, pending=True).at(now)
    overlap_ends = Instant(min(now + terms.overlap, max(key.decrypt_until, now)))
    old = replace(key, successor=new.key_id, rotated_at=now, overlap_ends_at=overlap_ends)
    return old.at(now), new


def store_rotation(
    transaction: Transaction,
    keys: RootKeys,
    stored: StoredKey,
    old: ManagedKey,
    new: ManagedKey,
    opened: RecognisedLicense | None,
    *,
    promote_at: Instant | None = None,
    min_acks: int | None = None,
) -> None:
    """Write both keys and the event, and make the successor the newest key of its chain."""
    event = KeyRotationEvent(
        old.key_id, new.key_id, old.model_id, transaction.now, transaction.operation_id, promote_at, min_acks
    )
    transaction.rows.put(RecordKind.ROTATION, old.key_id, event.to_json())
    if promote_at is not None:
        await_promotion(transaction, old.key_id)
    put_key(transaction.rows, old, stored.wrapped)
    store_successor(transaction, keys, new, opened if new.license_tag is not None else None)
    heads = head_ids(transaction.rows, old.model_id)
    put_heads(transaction.rows, old.model_id, [new.key_id if head == old.key_id else head for head in heads])


def record_clients(transaction: Transaction, rotation: Rotation, terms: RotationTerms) -> list[KeyDistributionRequest]:
    """Queue the successor for each node to notify, and record each client that is not a node as undeliverable.

    Returns the requests: the nodes by name, then the other clients in their order.
    """
    old, new = rotation.old, rotation.new or rotation.old
    nodes = nodes_among(transaction.rows, terms.clients, every=terms.notify_all)
    now, operation = transaction.now, transaction.operation_id
    queue(transaction, KEY, nodes.values(), key_id=new.key_id, generation=new.generation, old_key_id=old.key_id)
    strangers = [client for client in terms.clients if client not in nodes]
    return [
        *(KeyDistributionRequest(new.key_id, name, now, operation, QUEUED) for name in sorted(nodes)),
        *(undeliverable(transaction, new.key_id, old.key_id, client) for client in strangers),
    ]
