"""What a restore would replace and what it would put back, before anybody says yes: reads both, writes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.keystore import database, host_secret, schema
from tiktrue_keys.core.keystore.document import authenticated, parse_document, read_document
from tiktrue_keys.core.keystore.opening import Place
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.slots import open_on_machine
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.session import Session
from tiktrue_keys.errors import IntegrityError, NotFoundError, TikTrueKeysError


@dataclass(frozen=True)
class Position:
    """How far a keystore has come: which one it is (16 bytes), its epoch, its records, the newest of them."""

    keystore_id: bytes
    epoch: int
    audit_size: int
    newest: AuditRecord | None


@dataclass(frozen=True)
class RestorePreview:
    """The backup, and the keystore that it would replace.

    `present` is None where there is no keystore, or one that does not open; `present_error` says why not.
    """

    backup: Position
    present: Position | None
    present_error: TikTrueKeysError | None

    @property
    def same_keystore(self) -> bool | None:
        """Whether the backup is of the keystore that is there; None when that cannot be told."""
        return None if self.present is None else self.present.keystore_id == self.backup.keystore_id


def preview_restore(session: Session, source: Path) -> RestorePreview:
    """Verify the backup whole on this machine and look at what is in its place.

    NotFoundError, IntegrityError, WrongMachineError for the backup; what is wrong with the other is in the result.
    """
    try:
        with _opened_backup(source, session.place, session.facts()) as keystore:
            keystore.verify_whole()
            with keystore.read() as view:
                backup = _position(view)
    except IntegrityError as error:  # whose hint would be to restore a backup
        raise IntegrityError(error.message, "choose another backup") from error
    try:
        present = _present(session)
    except TikTrueKeysError as error:
        return RestorePreview(backup, None, error)
    return RestorePreview(backup, present, None)


def _present(session: Session) -> Position | None:
    if not session.exists():
        return None
    with session.read() as (view, _):
        return _position(view)


def _position(view: Snapshot) -> Position:
    newest = view.audit.get(view.audit.size - 1) if view.audit.size else None
    return Position(view.document.keystore_id, view.document.epoch, view.audit.size, newest)


@contextlib.contextmanager
def _opened_backup(source: Path, place: Place, facts: MachineFacts) -> Iterator[Keystore]:
    """The backup as it lies there. Immutable to SQLite: it takes no lock and leaves nothing beside the file."""
    if not source.is_file():
        raise NotFoundError(f"there is no backup {source}")
    uri = f"{source.absolute().as_uri()}?mode=ro&immutable=1"
    with (
        database.sqlite_errors(source),
        contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)) as connection,
    ):
        for pragma in ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON"):
            connection.execute(pragma)
        if not schema.has_tables(connection):
            raise IntegrityError(f"{source} is no backup of a keystore")
        schema.must_be_ours(connection)
        stored = read_document(connection)
        document = parse_document(stored[0])
        secret_path = place.host_secret or Path(document.host_secret_path)
        host_secret.must_lie_outside(secret_path, place.folder)
        with host_secret.read_expected(
            secret_path, document.host_secret_id, stored=document.host_secret_path
        ) as secret:
            root = open_on_machine(document, facts, secret.view)
            authenticated(stored, root.view)
            keystore = Keystore(source, connection, RootKeys(root, document.keystore_id), secret, timeout=place.timeout)
            try:
                yield keystore
            finally:
                keystore.close()
