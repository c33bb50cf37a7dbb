"""Copies a keystore to a file, and restores such a copy as a new epoch.

Come here for backup, restore and recovery. A copy opens in the ways in which its keystore opens. SQLite makes the
copies: closing a second descriptor of the database file would drop SQLite's lock.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.durable import NewFile, sync_folder
from tiktrue_keys.core.instants import Instant, instant_of
from tiktrue_keys.core.keystore import database, schema
from tiktrue_keys.core.keystore.bind import become_rehearsal, record_paths, settle_on_machine
from tiktrue_keys.core.keystore.document import Document, parse_document, read_document
from tiktrue_keys.core.keystore.high_water import Mark
from tiktrue_keys.core.keystore.leftovers import RESTORING, sweep_backup, sweep_replaced
from tiktrue_keys.core.keystore.lock import writers_lock
from tiktrue_keys.core.keystore.open import WayIn, open_at, opened
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.permissions import FILE_MODE, make_private_folder
from tiktrue_keys.core.keystore.schema import LaterVersionError, RecordKind
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import ReadClock, Transaction
from tiktrue_keys.core.keystore.volatile import note_volatile
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, UnavailableError, WrongMachineError

MAX_EPOCH = 2**31


@dataclass(frozen=True)
class Restored:
    """The result of a restore: its epoch, its number of audit records, and the path of the file that it replaced.

    `leaves_another`: this machine knew the keystore, and it was not the one replaced: it no longer opens elsewhere.
    `policy` is the digest of the approval policy that this machine knew it by; empty where it knew none. `copied_size`
    is the number of audit records in the backup.
    """

    epoch: int
    audit_size: int
    replaced: Path | None
    leaves_another: bool = False
    policy: str = ""
    copied_size: int = 0


def write_backup(keystore: Keystore, destination: Path, *, force: bool, gate: OutputGate) -> None:
    """Copy the keystore to a file (0600, complete or not at all).

    The copy is verified before it takes the name: a damaged one must not replace a good one. Raises RefusedError when
    the gate refuses it, or it exists, unless `force`; IntegrityError for a keystore that is damaged.
    """
    gate.check(destination, FileKind.BACKUP)
    if not force and os.path.lexists(destination):
        raise RefusedError(f"{destination} exists", "choose another name, or pass force=True", remedy="output-exists")
    sweep_backup(destination)
    with NewFile(destination, FILE_MODE, gate=gate, kind=FileKind.BACKUP, what="the backup") as output:
        keystore.copy_to(output.temporary)
        keystore.verify_copy(output.temporary)
        output.commit(replace=force)


@contextlib.contextmanager
def blamed_on_backup(source: Path) -> Iterator[None]:
    """Run a block that reads a backup, and let its errors of trust name the backup: they speak of "the keystore".

    An IntegrityError gets the hint to choose another backup.
    """
    try:
        yield
    except (IntegrityError, WrongMachineError) as error:
        words = f"the backup {shown(source)} does not open: {error.message}"
        if isinstance(error, LaterVersionError | WrongMachineError):
            raise type(error)(words, **error.advice) from error
        raise IntegrityError(words, "choose another backup") from error


@contextlib.contextmanager
def opened_backup(source: Path, way_in: WayIn) -> Iterator[Keystore]:
    """Yield the backup, opened where it lies.

    SQLite treats it as immutable: it takes no lock and writes nothing beside it. Raises NotFoundError when there is
    none, RefusedError when its last transaction was not finished, IntegrityError when it is not an intact keystore, and
    the errors of `way_in`.
    """
    with _immutable(source) as connection:
        for pragma in ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON"):
            connection.execute(pragma)
        keystore = opened(connection, source, way_in, timeout=0)
        try:
            yield keystore
        finally:
            keystore.close()


def clear_header(source: Path) -> Document:
    """Return the header of the keystore or backup at `source`, which is not authenticated yet.

    Raises NotFoundError when there is none, RefusedError when its last transaction was not finished, IntegrityError
    when it is not a keystore.
    """
    with _immutable(source) as connection:
        return parse_document(read_document(connection)[0])


@contextlib.contextmanager
def _immutable(source: Path) -> Iterator[sqlite3.Connection]:
    if not source.is_file():
        raise NotFoundError(f"there is no backup {shown(source)}")
    if _is_something(source.with_name(source.name + "-journal")):
        raise RefusedError(
            f"{shown(source)} was left in the middle of a transaction, which {shown(source)}-journal can undo",
            "put both into a folder of your own, mode 0700, and open that folder",
            remedy="unfinished-backup",
        )
    uri = f"{source.absolute().as_uri()}?mode=ro&immutable=1"
    with (
        database.sqlite_errors(source),
        contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)) as connection,
    ):
        if not schema.has_tables(connection):
            raise IntegrityError(f"{shown(source)} is not a backup of a keystore")
        schema.must_be_ours(connection)
        yield connection


@contextlib.contextmanager
def restoring(
    place: KeystorePaths,
    source: Path,
    way_in: WayIn,
    facts: MachineFacts,
    clock: Callable[[], float],
    read_clock: ReadClock,
    *,
    event: str,
    actor: Actor,
    operation_id: OperationId,
    accept_clock: bool = False,
    last_epoch: int = 0,
    rehearsal: bool = False,
) -> Iterator[tuple[Transaction, Restored]]:
    """Put `source` in the keystore's place as a new epoch. The block may add to the transaction that opens the epoch.

    The copy is verified completely before anything is replaced, and bound to this machine if it was opened in another
    way. An existing keystore is kept beside it as `keystore-<UTC>.replaced.db`. `event` names the operation in its
    audit record. `last_epoch` is that of the same keystore where it is not known by a mark: after a rekey, a backup
    from before it does not read the mark. As a `rehearsal` it says so in its header, and has no mark.
    """
    make_private_folder(place.folder)
    with writers_lock(place.folder, timeout=place.timeout, actor=actor):
        current = place.folder / database.FILE_NAME
        _must_not_hold_rehearsal(current)
        sweep_replaced(place.folder)
        with contextlib.ExitStack() as stack:
            with blamed_on_backup(source):
                copy = stack.enter_context(_copy_of(source, place.folder))
                keystore = open_at(copy, way_in, place)
            try:
                known = keystore.mark_or_none()
                with blamed_on_backup(source):
                    keystore.verify_whole()
                epoch = next_epoch(keystore.document_now(), known, last_epoch, instant_of(clock()))
                kept = _kept_name(place.folder) if _is_something(current) else None
                with keystore.new_epoch(
                    epoch, read_clock, actor=actor, operation_id=operation_id, accept_clock=accept_clock
                ) as transaction:
                    if keystore.host_secret is None:
                        settle_on_machine(keystore, transaction, place, facts)
                    elif rehearsal:
                        become_rehearsal(keystore, transaction, place.folder)
                    else:
                        record_paths(keystore, transaction)
                    note_volatile(transaction, place)
                    copied_size = transaction.audit.size
                    record_epoch(transaction, epoch, known, event)
                    leaves_another = known is not None and kept is None and not rehearsal
                    policy = known.policy if known is not None else ""
                    yield (
                        transaction,
                        Restored(epoch, transaction.audit.size, kept, leaves_another, policy, copied_size),
                    )
                keystore.begin_marks()
                put_in_place(copy, current, kept)
                keystore.write_mark_of_epoch()  # last: a keystore behind its mark does not open, one ahead of it does
            finally:
                keystore.close()


def _must_not_hold_rehearsal(current: Path) -> None:
    """Raise RefusedError for the folder of a rehearsal: a keystore there would take the place of its original."""
    with contextlib.suppress(IntegrityError, NotFoundError, UnavailableError):
        if clear_header(current).rehearsal:
            raise RefusedError(
                f"{shown(current.parent)} holds a rehearsal", "restore into another folder", remedy="leave-rehearsal"
            )


@contextlib.contextmanager
def _copy_of(source: Path, folder: Path) -> Iterator[Path]:
    """Yield a private copy of the backup in the keystore's folder. It is removed at the end unless it was renamed."""
    copy = folder / RESTORING
    with contextlib.suppress(FileNotFoundError):
        copy.unlink()  # left by a killed restore; this process holds the lock
    database.create_file(copy)
    try:
        with _immutable(source) as original, contextlib.closing(sqlite3.connect(copy)) as target:
            _copy_pages(original, target, copy)
        yield copy
    finally:
        for leftover in (copy, copy.with_name(copy.name + "-journal")):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()


def _copy_pages(original: sqlite3.Connection, target: sqlite3.Connection, copy: Path) -> None:
    try:
        original.backup(target)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
            raise
        # This process has just created the file: SQLite failed to open it for writing and did not say why.
        raise UnavailableError(f"{shown(copy)} cannot be written", "check the disk") from error


def next_epoch(document: Document, known: Mark | None, last: int, now: Instant) -> int:
    """Return an epoch higher than every earlier one.

    Without a mark this machine does not know the earlier ones. The minutes since the keystore was created are then
    added, so that two recoveries from one backup do not begin the same epoch.
    """
    passed = 0 if known is not None else max(now - document.created_at, 0) // 60
    epoch = max(document.epoch, known.epoch if known else 0, last) + 1 + passed
    if epoch >= MAX_EPOCH:
        raise IntegrityError("the keystore has had too many epochs")
    return epoch


def record_epoch(transaction: Transaction, epoch: int, known: Mark | None, event: str, **more: object) -> None:
    """Record in the transaction that opens an epoch which mark was known before it."""
    last = {"epoch": known.epoch, "size": known.size, "head": known.head.hex()} if known else None
    transaction.rows.put(RecordKind.EPOCH, str(epoch), {"epoch": epoch, "last_known": last, "at": transaction.now})
    transaction.record(event, detail={"new_epoch": epoch, "last_known": last, **more})


def _is_something(path: Path) -> bool:
    """Return whether there is a file to keep: a keystore, or the remains of one."""
    try:
        return path.lstat().st_size > 0
    except OSError:
        return False


def _kept_name(folder: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (
        folder / f"keystore-{stamp}{again}.replaced.db" for again in ("", *(f"-{number}" for number in range(2, 100)))
    )
    return next(name for name in names if not name.exists())


def put_in_place(copy: Path, current: Path, kept: Path | None) -> None:
    """Rename the copy durably. The old file is recovered first: its hot journal must not be applied to the new one."""
    with foreign_os_errors("the keystore", current):
        _replace(copy, current, kept)


def _replace(copy: Path, current: Path, kept: Path | None) -> None:
    journal = current.with_name(current.name + "-journal")
    if kept is not None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(current)) as old:
            old.execute("PRAGMA schema_version").fetchone()
        os.link(current, kept)
    with contextlib.suppress(FileNotFoundError):
        journal.unlink()
    with open(copy, "rb+") as file:
        os.fsync(file.fileno())
    sync_folder(current.parent)
    os.replace(copy, current)
    sync_folder(current.parent)
