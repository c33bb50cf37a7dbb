"""The act `backup`: a copy of the keystore, recorded before and after."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.keystore.backup import opened_backup, write_backup
from tiktrue_keys.core.keystore.document import Slot
from tiktrue_keys.core.keystore.open import by_machine
from tiktrue_keys.core.keystore.replay import chosen_operation_id, first_result, remember_result
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import escrow_slots
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, Termination, TikTrueKeysError

BACKUP = "backup"


@dataclass(frozen=True, kw_only=True)
class BackedUp(OperationResult):
    """Where the copy is, how many audit records it holds, whether an escrow's shares open it (False: not known)."""

    path: Path
    audit_size: int
    holds_escrow: bool = False


def backup(session: KeystoreSession, destination: Path, *, force: bool, operation_id: str | None) -> BackedUp:
    """Record the intent, copy, record the outcome: the copy holds the intent, the keystore knows where copies lie."""
    operation, chosen = chosen_operation_id(operation_id)
    destination = destination.absolute()
    if Path(os.path.realpath(destination)).is_relative_to(os.path.realpath(session.place.folder)):
        raise RefusedError("a backup inside the keystore's folder is lost with it", "choose a place on another disk")
    with session.write(operation) as transaction:
        first = first_result(transaction.rows, operation, BACKUP) if chosen else None
        if first is not None and os.path.lexists(first[0][0]):
            path, records = first[0]
            return BackedUp(operation_id=operation, changed=False, path=Path(path), audit_size=int(records))
        known = transaction.rows.get(RecordKind.BACKUP, BACKUP)
        done = bool(known and known["done"])
        transaction.rows.put(RecordKind.BACKUP, BACKUP, _note(transaction, destination, done=done))
        transaction.record("intent", detail={"act": BACKUP, "path": str(destination)})
        size = transaction.audit.size
    with session.exclusive() as keystore:
        before = _made_before(session, destination, operation) if chosen else None
        size, escrow = before or (size, escrow_slots(keystore.document_now()))
        if before is None:
            write_backup(keystore, destination, force=force)
    with _unrecorded_copy_removed(destination, keep=force), session.write(operation) as transaction:
        done = escrow == escrow_slots(transaction.document)  # else a new one was made since, which no backup holds
        transaction.rows.put(RecordKind.BACKUP, BACKUP, _note(transaction, destination, done=done))
        transaction.record(BACKUP, detail={"path": str(destination), "records": size})
        if chosen:
            remember_result(transaction, BACKUP, [[str(destination), str(size)]])
    return BackedUp(operation_id=operation, changed=True, path=destination, audit_size=size, holds_escrow=bool(escrow))


def no_backup_holds_it(rows: Rows) -> None:
    """Another escrow than any backup's counts from now on: that is said until there is a backup which holds it."""
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


def _made_before(
    session: KeystoreSession, destination: Path, operation: OperationId
) -> tuple[int, tuple[Slot, ...]] | None:
    """Records and escrow of the whole copy of this operation, which was killed before it recorded it; None without one.

    The copy holds the note that was written before it, sealed: no other file does.
    """
    way_in = by_machine(session.place, session.facts())
    with contextlib.suppress(TikTrueKeysError), opened_backup(destination, way_in) as copy:
        copy.verify_whole()
        with copy.read() as view:
            note = view.rows.get(RecordKind.BACKUP, BACKUP)
            if note is not None and (note.get("operation_id"), note["path"]) == (operation, str(destination)):
                return view.audit.size, escrow_slots(view.document)
    return None


@contextlib.contextmanager
def _unrecorded_copy_removed(destination: Path, *, keep: bool) -> Iterator[None]:
    """A copy that cannot be recorded is taken away, so that a retry is not refused; not where one was replaced."""
    try:
        yield
    except (TikTrueKeysError, Termination):
        if not keep:
            destination.unlink(missing_ok=True)
        raise
