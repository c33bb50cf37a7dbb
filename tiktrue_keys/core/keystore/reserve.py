"""Space kept back so that a revocation works on a full disk: one file beside the keystore, one beside its mark.

Best effort: a reserve that cannot be made is no error, and none is made anew before there is space again. It holds
random bytes, because file systems may store zeros without taking space.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tiktrue_keys.core.durable import replace_bytes, sync_folder
from tiktrue_keys.errors import TikTrueKeysError

FILE_NAME = "keystore.reserve"
_KEYSTORE_BYTES = 256 * 1024  # a revocation was measured to take 53,248 bytes: journal, growth, mark, lock holder
_MARK_BYTES = 16 * 1024


def keep_reserve(folder: Path, mark: Path) -> None:
    """Make what is missing; called after a commit."""
    for path, size in _places(folder, mark):
        if not path.exists():
            with contextlib.suppress(TikTrueKeysError, OSError):
                replace_bytes(path, os.urandom(size))


def release_reserve(folder: Path, mark: Path) -> bool:
    """Remove it and sync the folders, which is when the space comes back; False when there was none."""
    released = False
    for path, _ in _places(folder, mark):
        with contextlib.suppress(OSError, TikTrueKeysError):
            path.unlink()
            sync_folder(path.parent)
            released = True
    return released


def _places(folder: Path, mark: Path) -> tuple[tuple[Path, int], tuple[Path, int]]:
    return (folder / FILE_NAME, _KEYSTORE_BYTES), (mark.with_suffix(".reserve"), _MARK_BYTES)
