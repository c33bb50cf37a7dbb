"""Keys from an issuer: imports, supersedes, promotes and revokes them, inside the transaction of `receive`.

Come here for what a node does with a key that another keystore has generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tiktrue_keys.core.dispatch.peers import has_issuers
from tiktrue_keys.core.dispatch.revocation_lists import Revocation, put_revocation, revocation_of
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import add_key, get_key, heads_of, is_live, put_heads, put_key
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.wrapping import wrap_managed_key
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import KeyId, ModelId
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, RevokedError


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


def import_key(
    transaction: Transaction,
    keys: RootKeys,
    received: ReceivedKey,
    secret: SecretBuffer,
    *,
    issuer: str,
    epoch: int,
    opened: RecognisedLicense | None,
    fingerprint: str,
) -> ManagedKey:
    """Store a received key, wrapped for this machine (and this license), and return it. Return a held key unchanged.

    Raises RevokedError for a key that a list revokes, RefusedError for one that is older than the key held. The pair
    (epoch, generation) decides, because a restored issuer assigns the generations that it has forgotten a second time.
    """
    rows, now = transaction.rows, transaction.now
    held = get_key(rows, received.key_id, now)
    if held is not None:
        return held.key
    revocation = revocation_of(rows, received.key_id)
    if revocation is not None:
        raise RevokedError(f"key {received.key_id} was revoked: {revocation.reason}", key_id=received.key_id)
    known = [head.key for head in heads_of(rows, received.model_id, now)]
    heads = [head for head in known if is_live(head)]
    before = _superseded(rows, heads, received, issuer, epoch)
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
    )
    add_key(transaction, key, wrap_managed_key(keys, key, secret, opened))
    rows.put(RecordKind.WITNESS, _origin(key.key_id), {"issuer": issuer, "at": now, "epoch": epoch})
    if before is not None:
        _supersede(rows, before, key, received.overlap_ends_at, now)
    kept = [head.key_id for head in heads if before is None or head.key_id != before.key_id]
    ended = [head.key_id for head in known if not is_live(head)]
    put_heads(rows, key.model_id, [*kept, key.key_id], ended=ended)
    return key.at(now)


def promote_received(transaction: Transaction, key_id: str, rotated_at: Instant, overlap_ends_at: Instant) -> None:
    """Activate a pending key that came from an issuer. Does nothing when it is not pending here."""
    rows, now = transaction.rows, transaction.now
    stored = get_key(rows, key_id, now)
    if stored is None or not stored.key.pending:
        return
    put_key(rows, replace(stored.key, pending=False), stored.wrapped)
    before = get_key(rows, stored.key.predecessor, now) if stored.key.predecessor else None
    if before is not None:
        put_key(
            rows,
            replace(before.key, rotated_at=rotated_at, overlap_ends_at=max(overlap_ends_at, rotated_at)),
            before.wrapped,
        )


def apply_revocation(transaction: Transaction, revocation: Revocation) -> ManagedKey | None:
    """Store a revocation, and revoke the key if it is held.

    Return the key; None if it is not held or was revoked before.
    """
    rows, now = transaction.rows, transaction.now
    put_revocation(rows, revocation)
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


def issuer_of(rows: Rows, key_id: str) -> str | None:
    """Return the node id of the issuer that a key came from; None for a key that was generated here."""
    if not has_issuers(rows):
        return None
    payload = rows.get(RecordKind.WITNESS, _origin(key_id))
    return payload["issuer"] if payload else None


def must_be_made_here(rows: Rows, key_id: str) -> None:
    """Raise RefusedError for a key that came from an issuer, which creates its successors."""
    issuer = issuer_of(rows, key_id)
    if issuer is not None:
        raise RefusedError(f"key {key_id} came from issuer {issuer}", "it is rotated there", key_id=key_id)


def _superseded(
    rows: Rows, heads: list[ManagedKey], received: ReceivedKey, issuer: str, epoch: int
) -> ManagedKey | None:
    """Return the held key that the new one replaces, or None.

    Generations that never arrived here are left out of the chain. Raises RefusedError when a newer key is held.
    """
    named = next((head for head in heads if head.key_id == received.predecessor), None)
    if named is not None:
        return named
    place = (epoch, received.generation)
    theirs = [head for head in heads if issuer_of(rows, head.key_id) == issuer]
    newer = next((head for head in theirs if _place(rows, head) >= place and received.generation > 1), None)
    if newer is not None:
        raise RefusedError(
            f"key {received.key_id} is generation {received.generation}, {newer.generation} is held already",
            key_id=received.key_id,
        )
    older = [head for head in theirs if _place(rows, head) < place and received.generation > 1]
    return older[0] if len(older) == 1 else None


def _place(rows: Rows, key: ManagedKey) -> tuple[int, int]:
    """Return the epoch in which a received key came, and its generation."""
    origin = rows.get(RecordKind.WITNESS, _origin(key.key_id)) or {}
    return int(origin.get("epoch", 1)), key.generation


def _supersede(rows: Rows, old: ManagedKey, new: ManagedKey, overlap_ends_at: Instant, now: Instant) -> None:
    stored = get_key(rows, old.key_id, now)
    if stored is None:
        return
    linked = replace(stored.key, successor=new.key_id)
    if not new.pending:
        linked = replace(linked, rotated_at=now, overlap_ends_at=Instant(max(overlap_ends_at, now)))
    put_key(rows, linked, stored.wrapped)


def _origin(key_id: str) -> str:
    return f"origin {key_id}"
