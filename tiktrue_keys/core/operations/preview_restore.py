"""What a restore would replace and what it would put back, before anybody says yes: reads both, writes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.keystore.backup import opened_backup
from tiktrue_keys.core.keystore.high_water import Mark
from tiktrue_keys.core.keystore.open import WayIn, by_machine
from tiktrue_keys.core.keystore.schema import LaterVersionError
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError


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
    `known`: how far this machine remembers the backup's keystore to have come.
    """

    backup: Position
    present: Position | None
    present_error: TikTrueKeysError | None
    known: Mark | None = None

    @property
    def same_keystore(self) -> bool | None:
        """Whether the backup is of the keystore that is there; None when that cannot be told."""
        return None if self.present is None else self.present.keystore_id == self.backup.keystore_id


def preview_restore(session: KeystoreSession, source: Path, way_in: WayIn | None = None) -> RestorePreview:
    """Verify the backup whole (by default in by this machine) and look at what is in its place.

    NotFoundError, IntegrityError, and as the way in for the backup; what is wrong with the other is in the result.
    """
    with (
        another_backup_is_needed(),
        opened_backup(source, way_in or by_machine(session.place, session.facts())) as copy,
    ):
        copy.verify_whole()
        known = copy.mark_or_none()
        with copy.read() as view:
            backup = _position(view)
    try:
        present = _present(session)
    except TikTrueKeysError as error:
        return RestorePreview(backup, None, error, known)
    return RestorePreview(backup, present, None, known)


@contextlib.contextmanager
def another_backup_is_needed() -> Iterator[None]:
    """Around the reading of a backup: what is wrong with a keystore has the hint to restore one."""
    try:
        yield
    except LaterVersionError:
        raise
    except IntegrityError as error:
        raise IntegrityError(error.message, "choose another backup") from error


def _present(session: KeystoreSession) -> Position | None:
    if not session.exists():
        return None
    with session.read() as (view, _):
        return _position(view)


def _position(view: Snapshot) -> Position:
    newest = view.audit.get(view.audit.size - 1) if view.audit.size else None
    return Position(view.document.keystore_id, view.document.epoch, view.audit.size, newest)
