"""Backups in a folder: a new copy under a name of its own, then the removal of older ones that it makes superfluous.

Come here for `backup --to` and `rotate --due --backup-to`. A copy is removed only if the new one holds every record
that it holds: copies of a history that a restore has left stay, because they may hold keys that nothing else holds.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tiktrue_keys.core.findings.rules import OF_BACKUPS
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.backup import opened_backup
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import OperationId, new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import Operation, once
from tiktrue_keys.core.operations.backup import BACKUP, BackedUp, copy_keystore, is_there, repeated_backup
from tiktrue_keys.core.operations.keystore_status import KeystoreStatus
from tiktrue_keys.core.operations.retention import kept, must_be_days
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError

REMOVED = "backup-removed"
_STAMP = "%Y%m%dT%H%M%SZ"
_ID_DIGITS = 8
_MOST_NAMES = 100


@dataclass(frozen=True)
class _Copy:
    """A copy that opens here: its path, its number of audit records and the head over them."""

    path: Path
    size: int
    head: bytes


def backup_to(session: KeystoreSession, folder: Path, *, keep: int, operation_id: str | None) -> BackedUp:
    """Copy the keystore into a folder, verify the copy, then remove the copies there that are not kept any more.

    Raises UsageError for `keep` out of bounds, NotFoundError for a folder that does not exist, and the errors of a
    backup. A copy that cannot be removed is a warning.
    """
    must_be_days(keep)
    folder = folder.absolute()
    if not folder.is_dir():
        raise NotFoundError(
            f"there is no folder {shown(folder)}", "create it", remedy="create-folder", about={"folder": str(folder)}
        )
    asked = OperationRequest.of(BACKUP, operation_id, {"to": str(folder), "keep": keep})
    done = once(session, asked, partial(_copy_into, session, folder), repeated_backup, stands=is_there)
    removed, notices = _prune(session, done.path, keep)
    return replace(done, removed=removed, warnings=(*done.warnings, *notices))


def _copy_into(session: KeystoreSession, folder: Path, operation: Operation) -> BackedUp:
    with session.read() as (view, now):
        begun = view.rows.get(RecordKind.BACKUP, BACKUP) or {}
        prefix = _prefix(view.document.keystore_id)
    is_same = (begun.get("operation_id"), os.path.dirname(begun.get("path", ""))) == (operation.id, str(folder))
    destination = Path(begun["path"]) if is_same else _new_name(folder, prefix, now)
    return copy_keystore(session, destination, False, operation)


def copies_in(folder: Path, keystore_id: bytes) -> list[Path]:
    """Return the copies of one keystore that this operation has named in a folder; none where it cannot be read."""
    try:
        return [path for path, _ in _copies_in(folder, _prefix(keystore_id))]
    except OSError:
        return []


def _prefix(keystore_id: bytes) -> str:
    return f"keystore-{keystore_id.hex()[:_ID_DIGITS]}-"


def _new_name(folder: Path, prefix: str, now: Instant) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    for again in ("", *(f"-{number}" for number in range(2, _MOST_NAMES))):
        path = folder / f"{prefix}{stamp}{again}.db"
        if not os.path.lexists(path):
            return path
    raise RefusedError(f"{shown(folder)} holds {_MOST_NAMES} backups of this second", "wait a second")


def _copies_in(folder: Path, prefix: str) -> Iterator[tuple[Path, Instant]]:
    """Yield the copies that this operation has named in the folder, with the instants in their names."""
    named = re.compile(re.escape(prefix) + r"([0-9]{8}T[0-9]{6}Z)(-[0-9]{1,2})?\.db")
    for path in sorted(folder.iterdir()):
        found = named.fullmatch(path.name)
        if found is None or not stat.S_ISREG(path.lstat().st_mode):
            continue
        with contextlib.suppress(ValueError):
            moment = datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC)
            yield path, Instant(int(moment.timestamp()))


def _prune(session: KeystoreSession, newest: Path, keep: int) -> tuple[tuple[Path, ...], tuple[Notice, ...]]:
    """Remove the copies beside `newest` that are not kept. Return them, and a warning for each that had to stay."""
    with session.read() as (view, now):
        prefix = _prefix(view.document.keystore_id)
    try:
        taken = dict(_copies_in(newest.parent, prefix))
    except OSError as error:
        return (), (Notice("backup-not-removed", f"{shown(newest.parent)} cannot be listed: {error.strerror}"),)
    if kept(taken.values(), now, keep).issuperset(taken.values()):
        return (), ()
    new = _opened(session, newest, whole=True)  # before one of the others goes
    removed: list[Path] = []
    opened, notices = _all_opened(session, [path for path in taken if path != newest])
    stay = kept((taken[copy.path] for copy in (*opened, new) if copy.path in taken), now, keep)
    for copy in opened:
        if taken[copy.path] in stay:
            continue
        try:
            _remove(session, copy, new)
            removed.append(copy.path)
        except TikTrueKeysError as error:
            notices.append(_not_removed(copy.path, error))
    return tuple(removed), tuple(notices)


def _all_opened(session: KeystoreSession, paths: Iterable[Path]) -> tuple[list[_Copy], list[Notice]]:
    """Return the copies that open, and a warning for each other one: it stays, and takes the place of none."""
    opened: list[_Copy] = []
    notices: list[Notice] = []
    for path in paths:
        try:
            opened.append(_opened(session, path))
        except TikTrueKeysError as error:
            notices.append(_not_removed(path, error))
    return opened, notices


def _not_removed(path: Path, error: TikTrueKeysError) -> Notice:
    return Notice("backup-not-removed", f"{shown(path)} was not removed: {error.message}")


def _opened(session: KeystoreSession, path: Path, *, whole: bool = False) -> _Copy:
    with opened_backup(path, session.way_in()) as copy:
        copy.ignore_mark()
        if whole:
            copy.verify_whole()
        with copy.read() as view:
            return _Copy(path, view.audit.size, view.audit.head())


def _remove(session: KeystoreSession, old: _Copy, new: _Copy) -> None:
    """Record the removal of a copy and remove it. Raises RefusedError if it holds records that the new one lacks."""
    with session.write(OperationId(new_operation_id())) as transaction:
        holds_more = old.size > new.size or transaction.audit.head_at(old.size) != old.head
        if holds_more or transaction.audit.head_at(new.size) != new.head:
            raise RefusedError("it holds records that this keystore does not have", "move it to another folder")
        transaction.record(REMOVED, detail={"path": str(old.path)})
    try:
        old.path.unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError(f"{error.strerror}", "remove it") from error


def wants_backup(found: KeystoreStatus) -> bool:
    """Return whether a finding asks for a backup, or the newest is older than half of its limit."""
    if any(finding.id in OF_BACKUPS for finding in found.findings):
        return True
    standing = found.standing
    newest = standing.backups.newest_at
    return newest is None or standing.now - newest > standing.limits.backup_age // 2
