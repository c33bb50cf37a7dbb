"""The acts `backup` and `restore`."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core.acts.keyring import all_keys, get_key, put_key
from tiktrue_keys.core.acts.operations import chosen_operation_id, first_result, remember_result
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.keystore.backup import Restored, restoring, write_backup
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.session import Session
from tiktrue_keys.errors import NotFoundError, RefusedError, SecurityError, TikTrueKeysError

BACKUP = "backup"
RESTORE = "restore"


@dataclass(frozen=True, kw_only=True)
class BackedUp(ActResult):
    """Where the copy is, and how many audit records it holds."""

    path: Path
    audit_size: int


@dataclass(frozen=True, kw_only=True)
class RestoredKeystore(ActResult):
    """What was put back."""

    restored: Restored


def backup(session: Session, destination: Path, *, force: bool, operation_id: str | None) -> BackedUp:
    """Record the backup, then copy: the copy holds the record of itself."""
    operation, chosen = chosen_operation_id(operation_id)
    destination = destination.absolute()
    if destination.is_relative_to(session.place.folder):
        raise RefusedError("a backup inside the keystore's folder is lost with it", "choose a place on another disk")
    with session.write(operation) as transaction:
        first = first_result(transaction.rows, operation, BACKUP) if chosen else None
        if first is not None and os.path.lexists(first[0][0]):
            path, records = first[0]
            return BackedUp(operation_id=operation, changed=False, path=Path(path), audit_size=int(records))
        transaction.rows.put(RecordKind.BACKUP, BACKUP, {"at": transaction.now, "path": str(destination)})
        transaction.record(BACKUP, detail={"path": str(destination)})
        size = transaction.audit.size
        if chosen:
            remember_result(transaction, BACKUP, [[str(destination), str(size)]])
    with session.exclusive() as keystore:
        write_backup(keystore, destination, force=force)
    return BackedUp(operation_id=operation, changed=True, path=destination, audit_size=size)


def restore(session: Session, source: Path, *, operation_id: str | None) -> RestoredKeystore:
    """Put a backup back as a new epoch. Whoever calls has asked first: it replaces the keystore that is there."""
    operation, chosen = chosen_operation_id(operation_id)
    repeated = _repeated(session, operation) if chosen else None
    if repeated is not None:
        return repeated
    withdrawn, notices = _withdrawn(session)
    session.close()
    with restoring(
        session.place, source, session.facts(), session.clock, actor=session.actor, operation_id=operation
    ) as (transaction, restored):
        revived = [_withdraw(transaction, key) for key in withdrawn]
        if chosen:
            remember_result(transaction, RESTORE, [[str(restored.epoch), str(restored.audit_size)]])
    if any(revived):
        notices.append(Notice("carried-over", f"{sum(revived)} keys stay revoked or destroyed, as they were before"))
    if restored.replaced is not None:
        words = f"the keystore that was there is kept as {restored.replaced}: delete it when you are sure"
        notices.append(Notice("replaced-keystore", words))
    notices.append(Notice("new-epoch", f"epoch {restored.epoch} begins; nodes have to accept it"))
    return RestoredKeystore(operation_id=operation, changed=True, restored=restored, warnings=tuple(notices))


def _repeated(session: Session, operation: OperationId) -> RestoredKeystore | None:
    """The restore of this operation id, when the keystore that is there came from it."""
    with contextlib.suppress(NotFoundError, SecurityError):
        if session.exists():
            with session.read() as (view, _):
                first = first_result(view.rows, operation, RESTORE)
            if first is not None:
                restored = Restored(int(first[0][0]), int(first[0][1]), None)
                return RestoredKeystore(operation_id=operation, changed=False, restored=restored)
    return None


def _withdrawn(session: Session) -> tuple[list[ManagedKey], list[Notice]]:
    """The keys that the keystore which is replaced knows to be revoked or destroyed: a restore must not revive them."""
    if not session.exists():
        return [], []
    try:
        with session.read() as (view, now):
            found = [stored.key for stored in all_keys(view.rows, now)]
    except TikTrueKeysError as error:
        words = f"the replaced keystore does not open ({error.message}): what was revoked since then is usable again"
        return [], [Notice("revocations-lost", words)]
    return [key for key in found if key.revoked_at is not None or key.destroyed_at is not None], []


def _withdraw(transaction: Transaction, known: ManagedKey) -> bool:
    """Make a restored key what it was; False when it is that, or is not in the backup."""
    stored = get_key(transaction.rows, known.key_id, transaction.now)
    if stored is None or (stored.key.revoked_at, stored.key.destroyed_at) == (known.revoked_at, known.destroyed_at):
        return False
    key = replace(
        stored.key,
        revoked_at=known.revoked_at,
        revoke_reason=known.revoke_reason,
        destroyed_at=known.destroyed_at,
        destroy_at=known.destroy_at,
    ).at(transaction.now)
    put_key(transaction.rows, key, b"" if key.destroyed_at is not None else stored.wrapped)
    transaction.record(
        "carry-over",
        key_id=key.key_id,
        model_id=key.model_id,
        before=stored.key.status.value,
        after=key.status.value,
    )
    return True
