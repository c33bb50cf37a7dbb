"""Copies of the keystore on this machine that the program made: backups, replaced keystores, and those of an upgrade.

Come here for the files that a rekey cannot change. Copies that were moved away are not known, and of several places for
backups only the last is.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.operations.backup import BACKUP
from tiktrue_keys.core.operations.backup_folder import copies_in
from tiktrue_keys.core.upgrade import older_copies

MOST = 64


def old_copies(view: Snapshot, folder: Path) -> tuple[Path, ...]:
    """Return the copies that still exist, at most 64, sorted by path. `folder` is the keystore's."""
    found = {Path(copy) for copy in older_copies(folder)} | set(folder.glob("keystore-*.replaced.db"))
    note = view.rows.get(RecordKind.BACKUP, BACKUP)
    if note is not None:
        newest = Path(note["path"])
        found |= {newest, *copies_in(newest.parent, view.document.keystore_id)}
    return tuple(sorted(path for path in found if os.path.lexists(path)))[:MOST]
