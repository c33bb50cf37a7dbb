"""The act `revoke`: keys or a whole model, with successors where asked for, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiktrue_keys.core.containers.registry import ContainerRecord, containers_of
from tiktrue_keys.core.dispatch import revocation_lists
from tiktrue_keys.core.fingerprint import fingerprint_of
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.key_results import Rotation
from tiktrue_keys.core.keys.keyring import must_get_key
from tiktrue_keys.core.keys.licenses import License, PreparedLicense, RecognisedLicense, must_recognise
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.revocation import (
    check_reason,
    keys_to_revoke,
    revocation_record,
    revoke_key,
    succeed_revoked,
)
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.replay import chosen_operation_id, first_result, remember_result
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId, new_operation_id
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.results import RevokeResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import UnavailableError, UsageError

OPERATION = "revoke"


@dataclass(frozen=True)
class RevokeRequest:
    """Either `keys` (KEY arguments) or `model` (all its generations)."""

    reason: str
    keys: tuple[str, ...] = ()
    model: str | None = None
    rotate: bool = False
    license_key: License | None = None
    dry_run: bool = False


def revoke(session: KeystoreSession, request: RevokeRequest, operation_id: str | None) -> RevokeResult:
    """Revoke what the request names; on a full disk with the space that is kept for it."""
    operation = operation_id or new_operation_id()
    try:
        return _revoke(session, request, operation)
    except UnavailableError:  # not DiskFullError alone: on xfs a full disk is "cannot be opened" to SQLite
        if not session.release_reserve():
            raise
    words = "the space kept for revocations is used up: free some, so that it can be kept again"
    result = _revoke(session, request, operation)
    return replace(result, changed=True, warnings=(*result.warnings, Notice("reserve-used", words)))


def _revoke(session: KeystoreSession, request: RevokeRequest, operation_id: str) -> RevokeResult:
    if bool(request.keys) == (request.model is not None):
        raise UsageError("a revocation takes keys or a model", "pass either", remedy="what-to-revoke")
    reason = check_reason(request.reason)
    operation, chosen = chosen_operation_id(operation_id)  # always chosen: a second try must see the first
    with session.read() as (view, now):
        first = first_result(view.rows, operation, OPERATION) if chosen else None
        if first is not None:
            return _repeated(view.rows, first, operation, now)
        targets = [stored.key for stored in keys_to_revoke(view.rows, request.keys, request.model, now)]
        containers = _affected(view.rows, targets)
    if request.dry_run:
        return RevokeResult(
            operation_id=operation, changed=False, keys=tuple(targets), containers=containers, dry_run=True
        )
    prepared = session.prepare(_license_for(request, targets))
    with session.write(operation) as transaction:
        first = first_result(transaction.rows, operation, OPERATION) if chosen else None
        if first is not None:
            return _repeated(transaction.rows, first, operation, transaction.now)
        stored_keys = keys_to_revoke(transaction.rows, request.keys, request.model, transaction.now)
        keys = [revoke_key(transaction, stored, reason) for stored in stored_keys]
        successors = _successors(session, transaction, keys, prepared) if request.rotate else ()
        revocation_lists.publish(transaction, [revocation_record(key) for key in keys])
        containers = _affected(transaction.rows, keys)
        if chosen:
            remember_result(transaction, OPERATION, _links(keys, successors))
        keys = [must_get_key(transaction.rows, key.key_id, transaction.now).key for key in keys]
    return RevokeResult(
        operation_id=operation,
        changed=True,
        warnings=_notices(containers),
        keys=tuple(keys),
        successors=successors,
        containers=containers,
    )


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
    fingerprint = fingerprint_of(read_binding(transaction.rows))
    made = (succeed_revoked(transaction, store_keys, key, opened, fingerprint) for key in keys)
    return tuple(rotation for rotation in made if rotation is not None)


def _affected(rows: Rows, keys: Sequence[ManagedKey]) -> tuple[ContainerRecord, ...]:
    found = {record.file_id: record for key in keys for record in containers_of(rows, key.key_id)}
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


def _repeated(rows: Rows, first: list[list[str]], operation: OperationId, now: Instant) -> RevokeResult:
    keys = tuple(must_get_key(rows, key_id, now).key for key_id, _ in first)
    successors = tuple(
        Rotation(must_get_key(rows, old, now).key, must_get_key(rows, new, now).key) for old, new in first if new
    )
    containers = _affected(rows, keys)
    return RevokeResult(
        operation_id=operation,
        changed=False,
        keys=keys,
        successors=successors,
        containers=containers,
        warnings=_notices(containers),
    )
