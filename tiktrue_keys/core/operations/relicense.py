"""The operation `relicense`: moves every key of one license to another in one transaction. The keys stay the same.

Come here when a customer's license is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.derivation import license_tag
from tiktrue_keys.core.keys.keyring import StoredKey, all_keys, put_key
from tiktrue_keys.core.keys.license_entries import delete_entry
from tiktrue_keys.core.keys.licenses import (
    License,
    PreparedLicense,
    RecognisedLicense,
    enrolment_notices,
    must_recognise,
    recognise_or_enroll,
)
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key, wrap_managed_key
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import InternalError, RefusedError, UsageError

OPERATION = "relicense"


@dataclass(frozen=True, kw_only=True)
class Relicensed(OperationResult):
    """The keys that were moved, and the tags (8 hex digits) of both licenses."""

    keys: tuple[ManagedKey, ...]
    old_license_tag: str
    new_license_tag: str
    dry_run: bool = False


def relicense(
    session: KeystoreSession, old: License, new: License, *, dry_run: bool, operation_id: str | None
) -> Relicensed:
    """Rewrap every key of `old` for `new`, which is enrolled when it is unknown. `old` is removed.

    Raises UsageError when both are the same, WrongLicenseError when `old` is unknown.
    """
    asked = OperationRequest.of(OPERATION, operation_id, {})
    do = partial(_relicense, session, old, new, dry_run)
    return once(session, asked, do, partial(_repeated, old, new))


def _relicense(session: KeystoreSession, old: License, new: License, dry_run: bool, operation: Operation) -> Relicensed:
    prepared_old, prepared_new = _prepared(session, old, new)
    if prepared_old.is_same(prepared_new):
        raise UsageError("the old and the new license are the same")
    if dry_run:
        with session.read() as (view, now):
            known = must_recognise(prepared_old, view.rows, session.root_keys)
            planned = tuple(stored.key for stored in all_keys(view.rows, now) if _goes_over(stored, known))
        return Relicensed(
            operation_id=operation.id,
            changed=False,
            keys=planned,
            old_license_tag=known.tag,
            new_license_tag="",
            dry_run=True,
        )
    with operation.write() as transaction:
        keys_of_root = session.root_keys
        known = must_recognise(prepared_old, transaction.rows, keys_of_root)
        wanted = recognise_or_enroll(prepared_new, transaction, keys_of_root, transaction.document, enroll=True)
        moving = [stored for stored in all_keys(transaction.rows, transaction.now) if _goes_over(stored, known)]
        keys = tuple(_rewrap(transaction, keys_of_root, stored, known, wanted) for stored in moving)
        delete_entry(transaction.rows, known.entry)
        salts = [known.entry.salt.hex(), wanted.entry.salt.hex()]
        operation.remember(transaction, [[known.tag, wanted.tag, *salts]] + [[key.key_id] for key in keys])
        detail = {"old": known.tag, "new": wanted.tag, "keys": len(keys)}
        transaction.record(OPERATION, detail=detail)
    return Relicensed(
        operation_id=operation.id,
        changed=True,
        warnings=enrolment_notices(prepared_new),
        keys=keys,
        old_license_tag=known.tag,
        new_license_tag=wanted.tag,
    )


def _repeated(old: License, new: License, first: FirstRun) -> Relicensed:
    """Return the first result, if both licenses are those of the first run. The record holds only their tags."""
    (old_tag, new_tag, *salts), *moved = first.items
    given = _prepared(first.session, old, new)
    tagged = zip(given, (old_tag, new_tag), salts, strict=False)  # an older program remembered no salts
    if not salts or not all(_is_tag_of(prepared, tag, salt) for prepared, tag, salt in tagged):
        raise RefusedError(
            f"operation {first.operation_id} moved the keys of license {old_tag} to license {new_tag}",
            "pass these two, or choose another id",
            remedy="operation-id-taken",
        )
    return Relicensed(
        operation_id=first.operation_id,
        changed=False,
        keys=first.keys(key_id for (key_id,) in moved),
        old_license_tag=old_tag,
        new_license_tag=new_tag,
    )


def _is_tag_of(prepared: PreparedLicense, tag: str, salt: str) -> bool:
    return license_tag(prepared.newest.view, bytes.fromhex(salt)).hex().startswith(tag)


def _prepared(session: KeystoreSession, *licenses: License) -> tuple[PreparedLicense, ...]:
    prepared = [session.prepare(license_key) for license_key in licenses]
    if None in prepared:
        raise InternalError("a license was not prepared")
    return tuple(each for each in prepared if each is not None)


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
