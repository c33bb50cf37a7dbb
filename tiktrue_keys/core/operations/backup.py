"""The operation `backup`: copies the keystore to a file, and records it before and after.

Come here for the note that says whether a current backup exists.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tiktrue_keys.core.keystore.backup import opened_backup, write_backup
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.replay import Items, OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import escrow_slots
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.outputs import FileKind
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import BusyError, Termination, TikTrueKeysError

BACKUP = "backup"


@dataclass(frozen=True, kw_only=True)
class BackedUp(OperationResult):
    """The path of the copy and its number of audit records.

    `holds_escrow` says whether an escrow's shares open the copy; False when that is not known. `removed` are older
    copies in its folder that were removed.
    """

    path: Path
    audit_size: int
    holds_escrow: bool = False
    removed: tuple[Path, ...] = ()


def backup(session: KeystoreSession, destination: Path, *, force: bool, operation_id: str | None) -> BackedUp:
    """Record the intent, copy the keystore, record the outcome.

    The copy therefore holds the intent, and the keystore the paths of its copies. Under the same operation id, a copy
    that no longer exists is created again. Raises RefusedError for a destination that the gate refuses, and for one
    that exists, unless `force`, and BusyError when a rekey or a restore came in between: the copy is then removed.
    """
    destination = destination.absolute()
    asked = OperationRequest.of(BACKUP, operation_id, {"destination": str(destination), "force": force})
    return once(session, asked, partial(copy_keystore, session, destination, force), repeated_backup, stands=is_there)


def copy_keystore(session: KeystoreSession, destination: Path, force: bool, operation: Operation) -> BackedUp:
    """Copy the keystore to an absolute path, as part of `operation`."""
    gate = session.output_gate()
    gate.check(destination, FileKind.BACKUP)
    with operation.write() as transaction:
        known = transaction.rows.get(RecordKind.BACKUP, BACKUP) or {"done": False}
        earlier = {name: known[name] for name in ("size", "epoch") if name in known}
        note = _note(transaction, destination, done=known["done"]) | earlier
        transaction.rows.put(RecordKind.BACKUP, BACKUP, note)
        transaction.record("intent", detail={"act": BACKUP, "path": str(destination)})
        size = transaction.audit.size
        operation.leave_open()
    with session.exclusive() as keystore:
        before = _made_before(session, destination, operation.id) if operation.chosen else None
        size, copied = before or (size, keystore.document_now())
        if before is None:
            write_backup(keystore, destination, force=force, gate=gate)
    with _unrecorded_copy_removed(destination, keep=force), operation.write() as transaction:
        _must_be_of_this_epoch(transaction, copied, destination)
        # False when an escrow was created since: the copy does not hold it.
        escrow = escrow_slots(copied)
        done = escrow == escrow_slots(transaction.document)
        note = _note(transaction, destination, done=done)
        if transaction.rows.has_agenda:
            note |= {"size": size, "epoch": transaction.document.epoch}
        transaction.rows.put(RecordKind.BACKUP, BACKUP, note)
        transaction.record(BACKUP, detail={"path": str(destination), "records": size})
        operation.remember(transaction, [[str(destination), str(size)]])
    return BackedUp(
        operation_id=operation.id, changed=True, path=destination, audit_size=size, holds_escrow=bool(escrow)
    )


def repeated_backup(first: FirstRun) -> BackedUp:
    """Return the result of the first run."""
    ((path, records),) = first.items
    return BackedUp(operation_id=first.operation_id, changed=False, path=Path(path), audit_size=int(records))


def is_there(items: Items) -> bool:
    """Return whether the copy of the first run still exists."""
    return os.path.lexists(items[0][0])


def no_backup_holds_it(rows: Rows) -> None:
    """Note that the escrow has changed and no backup holds the new one. A backup that holds it clears the note."""
    note = rows.get(RecordKind.BACKUP, BACKUP)
    if note is not None:
        rows.put(RecordKind.BACKUP, BACKUP, {**note, "done": False})


def _note(transaction: Transaction, destination: Path, *, done: bool) -> dict[str, object]:
    return {
        "at": transaction.now,
        "path": str(destination),
        "done": done,
        "operation_id": transaction.operation_id,
    }


def _made_before(session: KeystoreSession, destination: Path, operation: OperationId) -> tuple[int, Document] | None:
    """Return the number of records and the header of this operation's unrecorded copy, left by a kill; else None.

    Only that copy holds the sealed note that was written before it.
    """
    way_in = session.way_in()
    with contextlib.suppress(TikTrueKeysError), opened_backup(destination, way_in) as copy:
        copy.verify_whole()
        with copy.read() as view:
            note = view.rows.get(RecordKind.BACKUP, BACKUP)
            if note is not None and (note.get("operation_id"), note["path"]) == (operation, str(destination)):
                return view.audit.size, view.document
    return None


def _must_be_of_this_epoch(transaction: Transaction, copied: Document, destination: Path) -> None:
    """Raise BusyError for a copy of another root secret or epoch, and remove it: it does not count."""
    here = transaction.document
    if (copied.epoch, copied.former) != (here.epoch, here.former):
        destination.unlink(missing_ok=True)
        raise BusyError("the keystore was rekeyed or restored while it was copied", "run the backup again")


@contextlib.contextmanager
def _unrecorded_copy_removed(destination: Path, *, keep: bool) -> Iterator[None]:
    """Remove a copy that cannot be recorded, so that a retry is not refused. Keep one that has replaced a file."""
    try:
        yield
    except (TikTrueKeysError, Termination):
        if not keep:
            destination.unlink(missing_ok=True)
        raise
