"""Reserves disk space so that a revocation works on a full disk: one file beside the keystore, one beside each mark.

Come here for what `revoke` releases on a full disk. It is best effort: failing to create a reserve is not an error, and
a later commit re-creates it once there is space. The files hold random bytes, because file systems may store zeros
without allocating space.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tiktrue_keys.core.durable import replace_bytes, sync_folder
from tiktrue_keys.errors import TikTrueKeysError

FILE_NAME = "keystore.reserve"
_KEYSTORE_BYTES = 256 * 1024  # a revocation took 53,248 bytes when measured: journal, growth, mark, lock holder
_MARK_BYTES = 16 * 1024


def keep_reserve(folder: Path, marks: Iterable[Path]) -> None:
    """Create the files of the reserve that are missing. Called after a commit."""
    for path, size in _places(folder, marks):
        if not path.exists():
            with contextlib.suppress(TikTrueKeysError, OSError):
                replace_bytes(path, os.urandom(size), gate=None)


def release_reserve(folder: Path, marks: Iterable[Path]) -> bool:
    """Remove the reserve and sync the folders, which frees the space. Return False when there was none."""
    released = False
    for path, _ in _places(folder, marks):
        with contextlib.suppress(OSError, TikTrueKeysError):
            path.unlink()
            sync_folder(path.parent)
            released = True
    return released


def _places(folder: Path, marks: Iterable[Path]) -> list[tuple[Path, int]]:
    beside = [(mark.with_suffix(".reserve"), _MARK_BYTES) for mark in marks]
    return [(folder / FILE_NAME, _KEYSTORE_BYTES), *beside]
