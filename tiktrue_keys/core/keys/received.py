"""Keys from an issuer: imports, supersedes, promotes and revokes them, inside the transaction of `receive`.

Come here for what a node does with a key that another keystore has generated.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.dispatch.revocation_lists import Revocation, put_revocation, revocation_of
from tiktrue_keys.core.dispatch.scopes import Scope, covers
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.authority import OutOfScopeError, must_be_in_scope
from tiktrue_keys.core.keys.keyring import StoredKey, add_key, all_keys, get_key, heads_of, is_live, put_heads, put_key
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key, wrap_managed_key
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import KeyId, ModelId, model_of
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, RevokedError

_ENDED = (Status.DEPRECATED, Status.REVOKED, Status.DESTROYED)


@dataclass(frozen=True)
class ReceivedKey:
    """A key as its issuer describes it. `overlap_ends_at` is the end of its predecessor's overlap, 0 without one."""

    key_id: KeyId
    model_id: ModelId
    generation: int
    created_at: Instant
    expires_at: Instant
    decrypt_until: Instant
    pending: bool
    licensed: bool
    predecessor: KeyId | None
    overlap_ends_at: Instant
    labels: Mapping[str, str]


@dataclass(frozen=True)
class ReceivedPromotion:
    """A promotion as its issuer states it: when the predecessor was rotated, its overlap, and the key's periods."""

    rotated_at: Instant
    overlap_ends_at: Instant
    expires_at: Instant
    decrypt_until: Instant


def import_key(
    transaction: Transaction,
    keys: RootKeys,
    received: ReceivedKey,
    secret: SecretBuffer,
    *,
    issuer: Peer,
    epoch: int,
    opened: RecognisedLicense | None,
    fingerprint: str,
) -> ManagedKey:
    """Store a received key, wrapped for this machine (and this license), and return it. Return a held key unchanged.

    Raises OutOfScopeError for a key of another model than the issuer's, or one that names another keystore's key;
    RevokedError for a key that a list revokes, RefusedError for one that is older than the key held, or that is held
    with another secret. The pair (epoch,
    generation) decides, because a restored issuer assigns the generations that it has forgotten a second time.
    """
    rows, now, origin = transaction.rows, transaction.now, issuer.origin
    must_be_in_scope(rows, issuer, received.model_id)
    for named in (received.key_id, received.predecessor):
        must_be_of(rows, issuer, named)
    held = get_key(rows, received.key_id, now)
    if held is not None:
        _must_be_the_same(keys, held, received, secret, opened)
        return held.key
    revocation = revocation_of(rows, received.key_id, origin)
    if revocation is not None:
        raise RevokedError(f"key {received.key_id} was revoked: {revocation.reason}", key_id=received.key_id)
    known = [head.key for head in heads_of(rows, received.model_id, now)]
    heads = [head for head in known if is_live(head) and head.origin == origin]
    before = _superseded(heads, received, epoch)
    key = ManagedKey(
        key_id=received.key_id,
        model_id=received.model_id,
        generation=received.generation,
        created_at=received.created_at,
        expires_at=received.expires_at,
        decrypt_until=received.decrypt_until,
        license_tag=opened.tag if opened is not None and received.licensed else None,
        predecessor=before.key_id if before else None,
        pending=received.pending,
        fingerprint=fingerprint,
        labels=MappingProxyType(dict(received.labels)),
        origin=origin,
        origin_epoch=epoch,
    )
    add_key(transaction, key, wrap_managed_key(keys, key, secret, opened))
    if before is not None:
        _supersede(rows, before, key, received.overlap_ends_at, now)
    kept = [head.key_id for head in heads if before is None or head.key_id != before.key_id]
    ended = [head.key_id for head in known if head not in heads]
    put_heads(rows, key.model_id, [*kept, key.key_id], ended=ended)
    return key.at(now)


def _must_be_the_same(
    keys: RootKeys, held: StoredKey, received: ReceivedKey, secret: SecretBuffer, opened: RecognisedLicense | None
) -> None:
    """Raise RefusedError for another key under the id of one that is held, or where that cannot be told."""
    key = held.key
    if key.status is Status.DESTROYED:
        raise RefusedError(f"key {key.key_id} was destroyed here", key_id=key.key_id)
    if (key.generation, key.license_tag is not None) != (received.generation, received.licensed):
        raise RefusedError(f"key {key.key_id} is held with another generation or license", key_id=key.key_id)
    if key.license_tag is not None and (opened is None or opened.tag != key.license_tag):
        raise RefusedError(f"key {key.key_id} is held under license {key.license_tag}", key_id=key.key_id)
    with unwrap_managed_key(keys, held, opened) as known:
        if not hmac.compare_digest(known.view, secret.view):
            raise RefusedError(f"key {key.key_id} is held with another secret", key_id=key.key_id)


def promote_received(transaction: Transaction, issuer: Peer, key_id: KeyId, word: ReceivedPromotion) -> None:
    """Activate a pending key that came from an issuer, with the periods that it has there.

    Does nothing when it is not pending here.

    Raises OutOfScopeError for a key of another model than the issuer's, or one of another keystore.
    """
    rows, now = transaction.rows, transaction.now
    must_be_in_scope(rows, issuer, model_of(key_id))
    must_be_of(rows, issuer, key_id)
    stored = get_key(rows, key_id, now)
    if stored is None or not stored.key.pending:
        return
    promoted = replace(
        stored.key,
        pending=False,
        promoted_at=word.rotated_at or now,
        expires_at=word.expires_at,
        decrypt_until=word.decrypt_until,
    )
    put_key(rows, promoted.at(now), stored.wrapped)
    before = get_key(rows, stored.key.predecessor, now) if stored.key.predecessor else None
    if before is not None:
        ends = max(word.overlap_ends_at, word.rotated_at)
        put_key(rows, replace(before.key, rotated_at=word.rotated_at, overlap_ends_at=ends), before.wrapped)


def apply_revocation(transaction: Transaction, issuer: Peer, revocation: Revocation) -> ManagedKey | None:
    """Store a revocation, and revoke the key if it is held.

    Return the key; None if it is not held or was revoked before. Raises OutOfScopeError for a key of another model than
    the issuer's, or one of another keystore.
    """
    rows, now = transaction.rows, transaction.now
    must_be_in_scope(rows, issuer, model_of(KeyId(revocation.key_id)))
    must_be_of(rows, issuer, revocation.key_id)
    put_revocation(rows, revocation, issuer.origin)
    stored = get_key(rows, revocation.key_id, now)
    if stored is None or stored.key.status in (Status.REVOKED, Status.DESTROYED):
        return None
    reason = revocation.reason or "revoked by its issuer"
    revoked = replace(stored.key, revoked_at=revocation.revoked_at, revoke_reason=reason).at(now)
    put_key(rows, revoked, stored.wrapped)
    transaction.record(
        "revoke",
        key_id=revoked.key_id,
        model_id=revoked.model_id,
        before=stored.key.status.value,
        after=revoked.status.value,
        detail={"reason": reason, "by": "its issuer"},
    )
    return revoked


def must_be_of(rows: Rows, issuer: Peer, key_id: str | None) -> None:
    """Raise OutOfScopeError for a key that is held and did not come from `issuer`; a key that is not held passes."""
    held = None if key_id is None else get_key(rows, key_id, Instant(0))
    if held is not None and held.key.origin != issuer.origin:
        raise OutOfScopeError(f"key {key_id} did not come from '{issuer.name}'")


def end_keys_of(transaction: Transaction, origin: str, *, within: Scope = ()) -> list[ManagedKey]:
    """Let the keys of an issuer only decrypt from now on, except those of models `within`. Return the changed keys.

    They become deprecated, so that every use gives a warning, and stop when their decryption period ends.
    """
    rows, now = transaction.rows, transaction.now
    ended = []
    for stored in keys_from(rows, origin, now):
        key = stored.key
        if covers(within, key.model_id) or key.status in _ENDED:
            continue
        rotated_at = key.rotated_at or now
        new = replace(key, pending=False, rotated_at=rotated_at, overlap_ends_at=rotated_at).at(now)
        put_key(rows, new, stored.wrapped)
        transaction.record(
            "deprecate",
            key_id=new.key_id,
            model_id=new.model_id,
            before=key.status.value,
            after=new.status.value,
            detail={"issuer": origin},
        )
        ended.append(new)
    return ended


def keys_from(rows: Rows, origin: str, now: Instant) -> list[StoredKey]:
    """Return every key that came from an issuer. Reads all keys."""
    return [stored for stored in all_keys(rows, now) if stored.key.origin == origin]


def _superseded(heads: list[ManagedKey], received: ReceivedKey, epoch: int) -> ManagedKey | None:
    """Return the key of the same issuer that the new one replaces, or None.

    Generations that never arrived here are left out of the chain. Raises RefusedError when a newer key is held.
    """
    named = next((head for head in heads if head.key_id == received.predecessor), None)
    if named is not None:
        return named
    place = (epoch, received.generation)
    newer = next((head for head in heads if _place(head) >= place and received.generation > 1), None)
    if newer is not None:
        raise RefusedError(
            f"key {received.key_id} is generation {received.generation}, {newer.generation} is held already",
            key_id=received.key_id,
        )
    older = [head for head in heads if _place(head) < place and received.generation > 1]
    return older[0] if len(older) == 1 else None


def _place(key: ManagedKey) -> tuple[int, int]:
    """Return the epoch in which a received key came, and its generation."""
    return key.origin_epoch, key.generation


def _supersede(rows: Rows, old: ManagedKey, new: ManagedKey, overlap_ends_at: Instant, now: Instant) -> None:
    stored = get_key(rows, old.key_id, now)
    if stored is None:
        return
    linked = replace(stored.key, successor=new.key_id)
    if not new.pending:
        linked = replace(linked, rotated_at=now, overlap_ends_at=Instant(max(overlap_ends_at, now)))
    put_key(rows, linked, stored.wrapped)
