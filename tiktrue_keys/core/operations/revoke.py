"""The operation `revoke`: revokes keys or a whole model in one transaction, with successors on request.

Come here for how a revocation succeeds on a full disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.containers.registry import ContainerRecord, containers_of
from tiktrue_keys.core.dispatch import revocation_lists
from tiktrue_keys.core.fingerprint import fingerprint_of
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.key_results import Rotation
from tiktrue_keys.core.keys.keyring import StoredKey, must_get_key
from tiktrue_keys.core.keys.licenses import License, PreparedLicense, RecognisedLicense, must_recognise
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.reactivation import renew
from tiktrue_keys.core.keys.revocation import (
    check_reason,
    keys_to_revoke,
    revocation_record,
    revoke_key,
)
from tiktrue_keys.core.keys.rotation import RotationTerms, newest_of
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import RevokeResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import UnavailableError, UsageError

OPERATION = "revoke"


@dataclass(frozen=True)
class RevokeRequest:
    """The arguments of a revocation: either `keys` (KEY arguments) or `model` (all its generations).

    With `rotate` the models have an active key afterwards: a successor that waits becomes active, or a new one is made.
    With `new` a successor that waits is revoked too, so that a new one is made.
    """

    reason: str
    keys: tuple[str, ...] = ()
    model: str | None = None
    rotate: bool = False
    new: bool = False
    license_key: License | None = None
    dry_run: bool = False


def revoke(session: KeystoreSession, request: RevokeRequest, operation_id: str | None) -> RevokeResult:
    """Revoke the keys that the request names. On a full disk, use the space that is reserved for this.

    Raises UsageError for contradictory arguments, NotFoundError for an unknown key or model, and WrongLicenseError for
    successors with another license.
    """
    if request.new and not request.rotate:
        raise UsageError("a new successor is made with rotate alone", "pass rotate", remedy="new-needs-rotate")
    if bool(request.keys) == (request.model is not None):
        raise UsageError("a revocation takes keys or a model", "pass either", remedy="what-to-revoke")
    arguments = arguments_of(request, without=("license_key", "dry_run"))
    # Always remembered: a second attempt must see whether the first was committed.
    asked = OperationRequest.of(OPERATION, operation_id or new_operation_id(), arguments)
    operation = partial(_revoke, session, replace(request, reason=check_reason(request.reason)))
    with session.noting(OPERATION, asked.operation_id, asked.subject):
        try:
            return once(session, asked, operation, _repeated)
        except UnavailableError:  # not DiskFullError alone: on xfs a full disk is "cannot be opened" to SQLite
            if not session.release_reserve():
                raise
        session.keeps_version = True  # an upgrade needs room for a copy of the whole keystore
        try:
            result = once(session, asked, operation, _repeated)
        finally:
            session.keeps_version = False
    words = "the space reserved for revocations is used up: free some, so that it can be reserved again"
    return replace(result, changed=True, warnings=(*result.warnings, Notice("reserve-used", words)))


def _revoke(session: KeystoreSession, request: RevokeRequest, operation: Operation) -> RevokeResult:
    with session.read() as (view, now):
        targets = [stored.key for stored in _targets(view.rows, request, now)]
        containers = _affected(view.rows, targets)
    if request.dry_run:
        return RevokeResult(
            operation_id=operation.id, changed=False, keys=tuple(targets), containers=containers, dry_run=True
        )
    prepared = session.prepare(_license_for(request, targets))
    with operation.write() as transaction:
        stored_keys = _targets(transaction.rows, request, transaction.now)
        keys = [revoke_key(transaction, stored, request.reason) for stored in stored_keys]
        successors = _successors(session, transaction, keys, prepared) if request.rotate else ()
        own = [revocation_record(key) for key in keys if key.origin is None]
        if own:  # a received key was sent to no one, and its issuer is the one that revokes it elsewhere
            revocation_lists.publish(transaction, own)
        containers = _affected(transaction.rows, keys)
        operation.remember(transaction, _links(keys, successors))
        keys = [must_get_key(transaction.rows, key.key_id, transaction.now).key for key in keys]
    return RevokeResult(
        operation_id=operation.id,
        changed=True,
        warnings=_notices(containers),
        keys=tuple(keys),
        successors=successors,
        containers=containers,
    )


def _targets(rows: Rows, request: RevokeRequest, now: Instant) -> list[StoredKey]:
    """Return the keys to revoke: those named, and with `new` the successors of theirs that wait."""
    named = keys_to_revoke(rows, request.keys, request.model, now)
    if not request.new:
        return named
    found = {stored.key.key_id: stored for stored in named}
    for stored in named:
        newest = newest_of(rows, stored.key, now)
        if newest.status is Status.PENDING and newest.origin is None:
            found.setdefault(newest.key_id, must_get_key(rows, newest.key_id, now))
    return list(found.values())


def _license_for(request: RevokeRequest, targets: Sequence[ManagedKey]) -> License | None:
    if not request.rotate or all(key.license_tag is None for key in targets):
        return None
    if request.license_key is None:
        raise UsageError("the successors need the license", "pass license_key", remedy="needs-license")
    return request.license_key


def _successors(
    session: KeystoreSession, transaction: Transaction, keys: Sequence[ManagedKey], prepared: PreparedLicense | None
) -> tuple[Rotation, ...]:
    store_keys = session.root_keys
    opened: RecognisedLicense | None = None
    if prepared is not None:
        opened = must_recognise(prepared, transaction.rows, store_keys)
    terms = RotationTerms(fingerprint=fingerprint_of(read_binding(transaction.rows)))
    made = []
    for key in keys:
        newest = newest_of(
            transaction.rows, must_get_key(transaction.rows, key.key_id, transaction.now).key, transaction.now
        )
        is_waiting = newest.status is Status.PENDING and newest.predecessor == key.key_id
        if newest.status is Status.REVOKED or is_waiting:
            made.append(renew(transaction, store_keys, newest, terms, opened))
    return tuple(made)


def _affected(rows: Rows, keys: Sequence[ManagedKey]) -> tuple[ContainerRecord, ...]:
    found = {(record.file_id, record.path): record for key in keys for record in containers_of(rows, key.key_id)}
    return tuple(sorted(found.values(), key=lambda record: (record.path, record.file_id)))


def _notices(containers: Sequence[ContainerRecord]) -> tuple[Notice, ...]:
    if not containers:
        return ()
    words = (
        f"{plural(len(containers), 'container')} encrypted under these keys: "
        "a rewrap is not enough after a compromise, because the data key stays the same"
    )
    return (Notice("needs-reencryption", words, remedy="reencrypt-containers"),)


def _links(keys: Sequence[ManagedKey], successors: Sequence[Rotation]) -> list[list[str]]:
    made = {rotation.old.key_id: rotation.new.key_id for rotation in successors if rotation.new}
    return [[key.key_id, made.get(key.key_id, "")] for key in keys]


def _repeated(first: FirstRun) -> RevokeResult:
    keys = first.keys(key_id for key_id, _ in first.items)
    successors = first.keys(successor for _, successor in first.items if successor)
    old = [key for key, (_, successor) in zip(keys, first.items, strict=True) if successor]
    with first.read() as (view, _):
        containers = _affected(view.rows, keys)
    return RevokeResult(
        operation_id=first.operation_id,
        changed=False,
        keys=keys,
        successors=tuple(Rotation(before, after) for before, after in zip(old, successors, strict=True)),
        containers=containers,
        warnings=_notices(containers),
    )
