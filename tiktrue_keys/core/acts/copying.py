"""The acts `backup` and `restore`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.acts.operations import chosen_operation_id
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.keystore.backup import Restored, restoring, write_backup
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.session import Session
from tiktrue_keys.errors import RefusedError

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
    operation, _ = chosen_operation_id(operation_id)
    destination = destination.absolute()
    if destination.is_relative_to(session.place.folder):
        raise RefusedError("a backup inside the keystore's folder is lost with it", "choose a place on another disk")
    with session.write(operation) as transaction:
        transaction.rows.put(RecordKind.BACKUP, BACKUP, {"at": transaction.now, "path": str(destination)})
        transaction.record(BACKUP, detail={"path": str(destination)})
        size = transaction.audit.size
    with session.exclusive() as keystore:
        write_backup(keystore, destination, force=force)
    return BackedUp(operation_id=operation, changed=True, path=destination, audit_size=size)


def restore(session: Session, source: Path, *, operation_id: str | None) -> RestoredKeystore:
    """Put a backup back as a new epoch. Whoever calls has asked first: it replaces the keystore that is there."""
    operation, _ = chosen_operation_id(operation_id)
    session.close()
    with restoring(
        session.place, source, session.facts(), session.clock, actor=session.actor, operation_id=operation
    ) as (_, restored):
        pass
    notices = []
    if restored.replaced is not None:
        words = f"the keystore that was there is kept as {restored.replaced}: delete it when you are sure"
        notices.append(Notice("replaced-keystore", words))
    notices.append(Notice("new-epoch", f"epoch {restored.epoch} begins; nodes have to accept it"))
    return RestoredKeystore(operation_id=operation, changed=True, restored=restored, warnings=tuple(notices))
