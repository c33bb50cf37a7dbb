"""Revocation of keys, or of every generation of a model: immediate and final.

Come here for what a revocation writes; `core/operations/revoke.py` also releases the disk reserve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tiktrue_keys.core.dispatch import deliveries, outbox
from tiktrue_keys.core.dispatch.revocation_lists import REASON_LENGTH, Revocation
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.key_results import Rotation
from tiktrue_keys.core.keys.keyring import StoredKey, find_key, generations_of, must_get_key, put_key
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.rotation import RotationTerms, linked, store_rotation
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.errors import NotFoundError, RefusedError, RevokedError, UsageError, WrongLicenseError

MAX_REASON = 200


def check_reason(reason: str) -> str:
    """Return the reason without surrounding space. Raises UsageError when it is empty, too long or not printable."""
    text = reason.strip()
    if not text:
        raise UsageError("a revocation needs a reason", remedy="give-reason")
    if len(text) > MAX_REASON or not text.isprintable():
        raise UsageError(f"the reason must be at most {MAX_REASON} printable characters")
    return text


def keys_to_revoke(rows: Rows, arguments: Sequence[str], model: str | None, now: Instant) -> list[StoredKey]:
    """Return the keys that are named, or all keys of a model that are neither revoked nor destroyed.

    Raises NotFoundError when there is none, RevokedError or RefusedError when one may not be revoked.
    """
    if model is not None:
        generations = generations_of(rows, model, now)
        if not generations:
            raise NotFoundError(f"no model '{model}'", "keys() lists every key", remedy="list-keys")
        targets = [stored for stored in generations if stored.key.status not in (Status.REVOKED, Status.DESTROYED)]
        if not targets:
            raise RevokedError(f"every key of model {model} is revoked or destroyed already")
        return targets
    named = {stored.key.key_id: stored for stored in (find_key(rows, argument, now) for argument in arguments)}
    for stored in named.values():
        _must_be_revocable(stored.key)
    return list(named.values())


def _must_be_revocable(key: ManagedKey) -> None:
    if key.status is Status.DESTROYED:
        raise RefusedError(f"key {key.key_id} is destroyed", key_id=key.key_id)
    if key.status is Status.REVOKED:
        raise RevokedError(f"key {key.key_id} is revoked already", key_id=key.key_id)


def revoke_key(transaction: Transaction, stored: StoredKey, reason: str) -> ManagedKey:
    """Revoke one key and return it."""
    revoked = replace(stored.key, revoked_at=transaction.now, revoke_reason=reason).at(transaction.now)
    put_key(transaction.rows, revoked, stored.wrapped)
    transaction.record(
        "revoke",
        key_id=revoked.key_id,
        model_id=revoked.model_id,
        before=stored.key.status.value,
        after=revoked.status.value,
        detail={"reason": reason},
    )
    return revoked


def succeed_revoked(
    transaction: Transaction, keys: RootKeys, key: ManagedKey, opened: RecognisedLicense | None, terms: RotationTerms
) -> Rotation:
    """Give a revoked key, the newest of its chain, a successor without overlap.

    Raises WrongLicenseError when the license is not the key's.
    """
    if key.license_tag is not None and (opened is None or opened.tag != key.license_tag):
        raise WrongLicenseError(f"key {key.key_id} belongs to license {key.license_tag}", key_id=key.key_id)
    stored = must_get_key(transaction.rows, key.key_id, transaction.now)
    own = RotationTerms(overlap=Seconds(0), lifetime=terms.lifetime, fingerprint=terms.fingerprint)
    old, new = linked(stored.key, transaction.now, own, opened)
    store_rotation(transaction, keys, stored, old, new, opened)
    transaction.record(
        "rotate",
        key_id=old.key_id,
        model_id=old.model_id,
        before=old.status.value,
        after=old.status.value,
        detail={"successor": new.key_id, "generation": new.generation},
    )
    nodes = deliveries.holders(transaction.rows, old.key_id)
    outbox.queue(transaction, outbox.KEY, nodes, key_id=new.key_id, generation=new.generation, old_key_id=old.key_id)
    return Rotation(old, new)


def revocation_record(key: ManagedKey) -> Revocation:
    """Return the entry of a revocation list for a revoked key."""
    reason = (key.revoke_reason or "")[:REASON_LENGTH]
    return Revocation(key.key_id, key.revoked_at or Instant(0), reason)
