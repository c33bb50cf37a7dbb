"""An opened keystore: snapshots to read and transactions to write, each one verified when it begins.

Come here for how a keystore is committed; verification.py verifies it. One transaction holds the change and its audit
record, and its high-water mark is written before success is reported. core/keys and core/operations define keys and
licenses.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.instants import instant_of
from tiktrue_keys.core.keystore import database, schema
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.clock import TimeRule, accepted_time, is_heartbeat_due, must_not_leap
from tiktrue_keys.core.keystore.document import Document, authenticated, document_mac, read_document
from tiktrue_keys.core.keystore.high_water import Mark, first_mark, mark_path, policy_digest
from tiktrue_keys.core.keystore.identity import Signers
from tiktrue_keys.core.keystore.leftovers import sweep_backup, sweep_opened
from tiktrue_keys.core.keystore.lock import writers_lock
from tiktrue_keys.core.keystore.machine_secrets import MachineSecret
from tiktrue_keys.core.keystore.marks import Marks
from tiktrue_keys.core.keystore.reserve import keep_reserve, release_reserve
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.secret_place import HostSecret
from tiktrue_keys.core.keystore.slots import takes_facts
from tiktrue_keys.core.keystore.transaction import KeystoreState, ReadClock, Snapshot, Transaction
from tiktrue_keys.core.keystore.transfer import Changes, Transfer
from tiktrue_keys.core.keystore.verification import Trusted, VerifiedConnection, root_of
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.system_errors import own_name
from tiktrue_keys.errors import (
    BusyError,
    DiskFullError,
    IntegrityError,
    InternalError,
    TikTrueKeysError,
    UnavailableError,
)

ReadSecrets = Callable[[Document, MachineSecret], Sequence[MachineSecret]]

PAGES_AT_ONCE = 1024
"""4 MiB at the usual page size: what a copy holds in memory."""


class Keystore:
    """One keystore file, opened on its machine.

    Not thread-safe: KeystoreSession admits one thread at a time to each of its two connections. `host_secret` is the
    secret that opened it on its machine: the host secret, or what a device has in its place. `read_secrets` returns the
    secret of each way whose slots have facts; it raises what reading a secret raises that is not in use.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        keys: RootKeys,
        host_secret: MachineSecret | None,
        *,
        timeout: float,
        marks: Path | None = None,
    ) -> None:
        self.path = path
        self.folder = path.parent
        self.keys = keys
        self.host_secret = host_secret
        self.read_secrets: ReadSecrets = _the_one_in_use
        beside = host_secret.path.parent if isinstance(host_secret, HostSecret) else None
        self.marks = Marks(keys, given=marks, beside=beside)
        self._writer = VerifiedConnection(connection, keys, self.marks)
        self._aside: VerifiedConnection | None = None
        self._inode = _inode_of(path)
        self._timeout = timeout
        self._swept = False
        self.signers = Signers(keys)
        self.is_rehearsal = False

    def is_replaced(self) -> bool:
        """Return whether a restore has put another file at the path. This connection must not be used any more then."""
        return _inode_of(self.path) != self._inode

    def must_be_in_place(self) -> None:
        """Raise BusyError when another process replaced the file while this one waited for the lock."""
        if self.is_replaced():
            raise BusyError("a restore or a rekey has just replaced the keystore", "run it again: nothing was changed")

    def close(self) -> None:
        """Close the file and zero the keys."""
        self.close_connection()
        self.keys.wipe()
        if self.host_secret is not None:
            self.host_secret.wipe()

    def close_connection(self) -> None:
        """Close the file alone."""
        self._writer.sqlite.close()
        if self._aside is not None:
            self._aside.sqlite.close()

    @contextlib.contextmanager
    def read(self, *, aside: bool = False) -> Iterator[Snapshot]:
        """Yield one snapshot for the block; `aside` through a second connection, while another thread uses the first.

        Blocks do not nest. Raises IntegrityError when the keystore was modified.
        """
        reader = self._second_connection() if aside else self._writer
        if reader.sqlite.in_transaction:
            raise InternalError("a keystore's transactions do not nest")
        with database.sqlite_errors(self.path):
            reader.sqlite.execute("BEGIN")
            try:
                yield reader.view()
            finally:
                with contextlib.suppress(sqlite3.Error):
                    reader.sqlite.execute("ROLLBACK")

    def _second_connection(self) -> VerifiedConnection:
        if self._aside is None:
            self._aside = VerifiedConnection(
                database.open_existing(self.path, timeout=self._timeout), self.keys, self.marks
            )
        return self._aside

    @contextlib.contextmanager
    def write(
        self,
        read_clock: ReadClock,
        *,
        actor: Actor,
        operation_id: OperationId,
        time_rule: TimeRule = must_not_leap,
        before: Callable[[], None] | None = None,
    ) -> Iterator[Transaction]:
        """Yield one transaction: committed at the end if something was recorded, undone if the block raises.

        `before` runs under the writers' lock, before the transaction begins.
        """

        def begin() -> Transaction:
            view = self._writer.view()
            self._sweep(view.document, view.rows)
            reading = read_clock(view)
            return Transaction(view, time_rule(reading), actor, operation_id, reading)

        with writers_lock(self.folder, timeout=self._timeout, actor=actor):
            self.must_be_in_place()
            if before is not None:
                before()
            with self._committing(begin) as transaction:
                yield transaction

    def raise_version(self, transaction: Transaction) -> None:
        """Let the transaction write records of the present schema version, and set the version of header and file."""
        schema.set_version(self._writer.sqlite)
        transaction.replace_document(replace(transaction.document, version=schema.VERSION))
        transaction.rows.has_agenda = True

    def is_outdated(self) -> bool:
        """Return whether the keystore has an older schema version than this program writes."""
        return self.document_now().version < schema.VERSION

    @contextlib.contextmanager
    def create(
        self, document: Document, clock: Callable[[], float], *, actor: Actor, operation_id: OperationId
    ) -> Iterator[Transaction]:
        """Yield the transaction that creates the keystore: tables, header and what the block adds, or nothing at all.

        The caller holds the writers' lock.
        """

        def begin() -> Transaction:
            schema.create_tables(self._writer.sqlite)
            digests = bytearray(schema.BUCKETS * schema.DIGEST_LENGTH)
            audit = AuditLog(self._writer.sqlite, self.keys, size=0, epoch=document.epoch)
            view = Snapshot(
                document, KeystoreState(0, b"", "", b""), Rows(self._writer.sqlite, self.keys, digests), audit
            )
            return Transaction(view, instant_of(clock()), actor, operation_id)

        # Written before the commit, so that a kill between the two never leaves a keystore without its mark.
        path = mark_path(Path(document.marks_path), document.keystore_id)
        self.marks.write_at(path, first_mark(document.epoch))
        try:
            with self._committing(begin) as transaction:
                yield transaction
        except BaseException:
            if self._writer.trusted is None:  # not committed
                path.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def new_epoch(
        self,
        epoch: int,
        read_clock: ReadClock,
        *,
        actor: Actor,
        operation_id: OperationId,
        accept_clock: bool,
    ) -> Iterator[Transaction]:
        """Yield the transaction that opens `epoch` in a restored copy.

        Its mark is written later. The caller holds the lock.
        """

        def begin() -> Transaction:
            view = self._writer.view()
            audit = AuditLog(self._writer.sqlite, self.keys, size=view.audit.size, epoch=epoch)
            moved = Snapshot(replace(view.document, epoch=epoch), view.state, view.rows, audit)
            reading = read_clock(moved)
            time_rule = accepted_time if accept_clock else must_not_leap
            return Transaction(moved, time_rule(reading), actor, operation_id, reading)

        with self._committing(begin, marks=False) as transaction:
            yield transaction

    @contextlib.contextmanager
    def fill(
        self,
        copy: Callable[[sqlite3.Connection], Snapshot],
        read_clock: ReadClock,
        *,
        actor: Actor,
        operation_id: OperationId,
    ) -> Iterator[Transaction]:
        """Yield the transaction of a new file, begun with what `copy` puts into it: a whole keystore.

        Its mark is written later. The caller holds the lock.
        """

        def begin() -> Transaction:
            view = copy(self._writer.sqlite)
            reading = read_clock(view)
            return Transaction(view, must_not_leap(reading), actor, operation_id, reading)

        with self._committing(begin, marks=False) as transaction:
            yield transaction

    def transfer_to(self, view: Snapshot, target: sqlite3.Connection, keys: RootKeys, changes: Changes) -> bytearray:
        """Copy every record of `view` and the audit log into empty tables, under `keys`, and return the digests."""
        return Transfer(self._writer.sqlite, view.rows, self.keys, target, keys, changes).run()

    def begin_marks(self) -> None:
        """Write a mark at the beginning of the epoch if there is none: a keystore without one does not open."""
        with self.read() as view:
            document = view.document
        if not self.marks.has_any(document):
            self.marks.write(document, first_mark(document.epoch))

    def write_mark_of_epoch(self) -> None:
        """Write the mark that new_epoch left out, once the copy is in its place.

        A heartbeat stays, but not past the restore: a restore is the way back from a clock that was ahead.
        """
        known = self.mark_or_none()
        heartbeat = known.heartbeat if known else None
        with self.read() as view:
            if heartbeat is not None:
                heartbeat = min(heartbeat, view.audit.newest_time())
            position = (view.document.epoch, view.state.audit_size, view.state.audit_head)
            mark = Mark(*position, heartbeat, self._policy(view.rows))
        self._write_mark_after_commit(view.document, mark)
        keep_reserve(self.folder, self.marks.paths(view.document))

    @contextlib.contextmanager
    def accepting_lost_marks(self) -> Iterator[None]:
        """Let the block read and write although the marks are gone. One that the keystore does not reach is refused."""
        self._writer.may_lack_mark = True
        try:
            yield
        finally:
            self._writer.may_lack_mark = False
            self._writer.trusted = None

    def has_lost_marks(self, document: Document) -> bool:
        """Return whether no mark of the keystore counts, which only a reader that accepts lost marks learns."""
        return not document.rehearsal and not self.marks.has_any(document)

    def use_secret(self, secret: HostSecret) -> None:
        """Use this host secret from now on, and the marks beside it."""
        self.host_secret = secret
        self.marks.beside = secret.path.parent

    @contextlib.contextmanager
    def _committing(self, begin: Callable[[], Transaction], *, marks: bool = True) -> Iterator[Transaction]:
        with database.sqlite_errors(self.path), database.large_cache(self._writer.sqlite):
            self._writer.sqlite.execute("BEGIN IMMEDIATE")
            try:
                transaction = begin()
                yield transaction
                mark = self._finish(transaction)
            except BaseException:
                self._writer.trusted = None
                with contextlib.suppress(sqlite3.Error):
                    self._writer.sqlite.execute("ROLLBACK")
                raise
            if mark is not None and marks:
                self._write_mark_after_commit(transaction.document, mark, transaction.summary())
                keep_reserve(self.folder, self.marks.paths(transaction.document))

    def renew_heartbeat(self, read_clock: ReadClock, *, actor: Actor) -> None:
        """Replace the mark by one with a new heartbeat, if that is due. Nothing else changes, and nothing is recorded.

        Raises what writers_lock and replace_bytes raise.
        """
        with self.read() as view:
            if not is_heartbeat_due(read_clock(view)):
                return
        with writers_lock(self.folder, timeout=self._timeout, actor=actor):
            self.must_be_in_place()
            with self.read() as view:
                reading, policy = read_clock(view), self._policy(view.rows)
            if is_heartbeat_due(reading):
                position = (view.document.epoch, view.state.audit_size, view.state.audit_head)
                self.marks.write(view.document, Mark(*position, reading.effective, policy))

    def _sweep(self, document: Document, rows: Rows) -> None:
        """Remove what killed writers left, once per opened keystore."""
        if not self._swept and not document.rehearsal:  # what a rehearsal finds may be the keystore's, and in use
            self._swept = True
            sweep_opened(self.folder, document, self.marks.paths(document), self.keys.root.view)
            backup = rows.get(RecordKind.BACKUP, "backup")
            if backup is not None:
                sweep_backup(Path(backup["path"]))

    def check_file(self) -> None:
        """Run SQLite's own check of the whole file. Raises IntegrityError with its first finding."""
        with database.sqlite_errors(self.path):
            (finding,) = self._writer.sqlite.execute("PRAGMA integrity_check(1)").fetchone()
        if finding != "ok":
            raise IntegrityError(f"the keystore's file is damaged: {str(finding)[:200]}", **schema.RESTORE)

    def ignore_mark(self) -> None:
        """Read this file from now on regardless of the high-water mark: a backup is older than its keystore."""
        self._writer.ignores_mark = True

    def verify_whole(self) -> None:
        """Verify every row, every audit record and the root, regardless of the high-water mark; for a restore.

        Raises IntegrityError when one is not intact.
        """
        self.check_file()
        self.ignore_mark()
        with self.read() as view:
            view.audit.verify()
            for _ in view.rows.scan(RecordKind.KEY):
                pass

    def copy_to(self, path: Path) -> None:
        """Copy the whole file into the empty file at `path`, page by page.

        Without a journal of its own, so that a kill leaves no other file. The caller syncs the copy.
        """
        with (
            database.sqlite_errors(own_name(path)),
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target,
        ):
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")
            self._writer.sqlite.backup(target, pages=PAGES_AT_ONCE)

    def verify_copy(self, path: Path) -> None:
        """Verify a copy of this keystore, whole. Raises IntegrityError when it is not intact."""
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with (
            database.sqlite_errors(path),
            contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection,
        ):
            Keystore(path, connection, self.keys, None, timeout=0).verify_whole()

    def release_reserve(self) -> bool:
        """Free the space that is reserved for a revocation. Return False when there is none."""
        return release_reserve(self.folder, self.marks.paths(self.document_now()))

    def document_now(self) -> Document:
        """Return the verified header."""
        with self.read() as view:
            return view.document

    def mark_or_none(self) -> Mark | None:
        """Return this machine's high-water mark of the keystore, None when there is none that can be trusted."""
        return self.marks.newest(authenticated(read_document(self._writer.sqlite), self.keys.root.view))

    def _finish(self, transaction: Transaction) -> Mark | None:
        """Update digests, checkpoint and root, commit, and return the mark; None when there was nothing to commit."""
        before = self._writer.trusted
        document_changed = before is None or transaction.document != before.document
        if not transaction.audit.appended:
            if transaction.rows.changed or (document_changed and before is not None):
                raise InternalError("a change without its audit record")
            self._writer.sqlite.execute("ROLLBACK")
            return None
        state, policy = self._write_state(transaction, document_changed), self._policy(transaction.rows)
        self._commit(state)
        (version,) = self._writer.sqlite.execute("PRAGMA data_version").fetchone()
        self._writer.trusted = Trusted(
            version, transaction.document, state, bytes(transaction.rows.digests), transaction.now
        )
        position = (transaction.document.epoch, state.audit_size, state.audit_head)
        return Mark(*position, transaction.heartbeat, policy)

    def _policy(self, rows: Rows) -> str:
        """Return the digest of the approval policy for a mark.

        Where its bucket is damaged, it is what the mark has: an operation that needs no approval goes on, and one that
        may need some is refused by its own reading.
        """
        try:
            return policy_digest(rows)
        except IntegrityError:
            known = self.mark_or_none()
            return known.policy if known else ""

    def _write_state(self, transaction: Transaction, document_changed: bool) -> KeystoreState:
        document = transaction.document
        encoded = document.encode()
        if document_changed:
            mac = document_mac(self.keys.root.view, encoded)
            self._writer.sqlite.execute(
                "INSERT OR REPLACE INTO header (id, document, mac) VALUES (1, ?, ?)", (encoded, mac)
            )
        for page in transaction.rows.settle_digests():
            width = schema.BUCKETS_A_PAGE * schema.DIGEST_LENGTH
            digests = bytes(transaction.rows.digests[page * width : (page + 1) * width])
            self._writer.sqlite.execute("UPDATE bucket SET digests = ? WHERE page = ?", (digests, page))
        checkpoint = transaction.audit.checkpoint(document, self.signers.audit(transaction.rows))
        unrooted = KeystoreState(transaction.audit.size, transaction.audit.head(), checkpoint, b"")
        root = root_of(self.keys, unrooted, document, encoded, bytes(transaction.rows.digests))
        state = KeystoreState(unrooted.audit_size, unrooted.audit_head, unrooted.checkpoint, root)
        self._writer.sqlite.execute(
            "INSERT OR REPLACE INTO state (id, audit_size, audit_head, checkpoint, root) VALUES (1, ?, ?, ?, ?)",
            (state.audit_size, state.audit_head, state.checkpoint, state.root),
        )
        return state

    def _commit(self, state: KeystoreState) -> None:
        """Commit. A COMMIT that raises may be durable all the same, so look before passing its error on."""
        try:
            self._writer.sqlite.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.sqlite.execute("ROLLBACK")
            row = None
            with contextlib.suppress(sqlite3.Error):
                row = self._writer.sqlite.execute("SELECT root FROM state WHERE id = 1").fetchone()
            if row is None or row[0] != state.root:
                raise

    def _write_mark_after_commit(self, document: Document, mark: Mark, changed: str = "") -> None:
        try:
            self.marks.write(document, mark)
        except TikTrueKeysError as error:
            # The change cannot be undone any more; the next operation writes the mark.
            change = f"the change was made ({changed})" if changed else "the change was made"
            kind = DiskFullError if isinstance(error, DiskFullError) else UnavailableError
            raise kind(
                f"{change}, but the high-water mark was not written: {error.message}",
                "do not repeat the operation; the next one writes the mark",
                remedy="mark-not-written",
                about={"folder": document.marks_path},
            ) from error


def _the_one_in_use(document: Document, known: MachineSecret) -> Sequence[MachineSecret]:
    return (known,) if takes_facts(document, known.way) else ()


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
