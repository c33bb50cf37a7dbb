"""The act `relicense`: every key of one license goes over to another, in one transaction. The keys themselves stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import StoredKey, all_keys, must_get_key, put_key
from tiktrue_keys.core.keys.licenses import License, RecognisedLicense, must_recognise, recognise_or_enroll, retire
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key, wrap_managed_key
from tiktrue_keys.core.keystore.replay import chosen_operation_id, first_result, remember_result
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import InternalError, UsageError

OPERATION = "relicense"


@dataclass(frozen=True, kw_only=True)
class Relicensed(OperationResult):
    """The keys that went over, and the tags (8 hex digits) of both licenses."""

    keys: tuple[ManagedKey, ...]
    old_license_tag: str
    new_license_tag: str
    dry_run: bool = False


def relicense(
    session: KeystoreSession, old: License, new: License, *, dry_run: bool, operation_id: str | None
) -> Relicensed:
    """Rewrap every key of `old` for `new`, which is enrolled when it is unknown; `old` is then known no more."""
    operation, chosen = chosen_operation_id(operation_id)
    with session.read() as (view, now):
        first = first_result(view.rows, operation, OPERATION) if chosen else None
        if first is not None:
            return _repeated(view, now, first, operation)
    prepared_old, prepared_new = session.prepare(old), session.prepare(new)
    if prepared_old is None or prepared_new is None:
        raise InternalError("a license was not prepared")
    if bytes(prepared_old.stretched[-1].view) == bytes(prepared_new.stretched[-1].view):
        raise UsageError("the old and the new license are the same")
    if dry_run:
        with session.read() as (view, now):
            known = must_recognise(prepared_old, view.rows, session.root_keys)
            planned = tuple(stored.key for stored in all_keys(view.rows, now) if _goes_over(stored, known))
        return Relicensed(
            operation_id=operation,
            changed=False,
            keys=planned,
            old_license_tag=known.tag,
            new_license_tag="",
            dry_run=True,
        )
    with session.write(operation) as transaction:
        keys_of_root = session.root_keys
        first = first_result(transaction.rows, operation, OPERATION) if chosen else None
        if first is not None:
            return _repeated(transaction, transaction.now, first, operation)
        known = must_recognise(prepared_old, transaction.rows, keys_of_root)
        wanted = recognise_or_enroll(prepared_new, transaction, keys_of_root, transaction.document, enroll=True)
        moving = [stored for stored in all_keys(transaction.rows, transaction.now) if _goes_over(stored, known)]
        keys = tuple(_rewrap(transaction, keys_of_root, stored, known, wanted) for stored in moving)
        retire(prepared_old, transaction, keys_of_root)
        if chosen:
            remember_result(transaction, OPERATION, [[known.tag, wanted.tag]] + [[key.key_id] for key in keys])
        detail = {"old": known.tag, "new": wanted.tag, "keys": len(keys)}
        transaction.record(OPERATION, detail=detail)
    return Relicensed(
        operation_id=operation, changed=True, keys=keys, old_license_tag=known.tag, new_license_tag=wanted.tag
    )


def _repeated(view: Snapshot, now: Instant, first: list[list[str]], operation: OperationId) -> Relicensed:
    keys = tuple(must_get_key(view.rows, item[0], now).key for item in first[1:])
    old_tag, new_tag = first[0]
    return Relicensed(
        operation_id=operation, changed=False, keys=keys, old_license_tag=old_tag, new_license_tag=new_tag
    )


def _goes_over(stored: StoredKey, known: RecognisedLicense) -> bool:
    return stored.key.license_tag == known.tag and stored.key.status is not Status.DESTROYED


def _rewrap(
    transaction: Transaction,
    keys: RootKeys,
    stored: StoredKey,
    known: RecognisedLicense,
    wanted: RecognisedLicense,
) -> ManagedKey:
    key = replace(stored.key, license_tag=wanted.tag)
    with unwrap_managed_key(keys, stored, known) as secret:
        put_key(transaction.rows, key, wrap_managed_key(keys, key, secret, wanted))
    transaction.record(
        OPERATION,
        key_id=key.key_id,
        model_id=key.model_id,
        before=key.status.value,
        after=key.status.value,
        detail={"old": known.tag, "new": wanted.tag},
    )
    return key
