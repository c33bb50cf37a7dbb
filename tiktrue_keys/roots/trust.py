"""Checks the files that a setting of a way names, before one is loaded or believed.

Come here for InsecureError about a PKCS#11 module or a CA file. A user who can change such a file chooses what
runs with our secrets, or which server gets them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tiktrue_keys.errors import InsecureError, UnavailableError, UsageError

_STICKY_FOLDER = stat.S_ISVTX


def must_be_ours(path: str, what: str) -> Path:
    """Return the real path of a regular file that only root or this user can change or replace.

    Raises UsageError for a relative path, UnavailableError when there is no file, InsecureError when another user could
    write to it or to its folder.
    """
    if not os.path.isabs(path) or "\0" in path:
        raise UsageError(f"{what} is not an absolute path: {path[:200]!r}", "begin it with /")
    real = Path(os.path.realpath(path))
    try:
        file, folder = real.stat(), real.parent.stat()
    except OSError as error:
        words = f"{what} {path} cannot be read: {error.strerror}"
        raise UnavailableError(words, "install it, or name another") from None
    if not stat.S_ISREG(file.st_mode):
        raise UsageError(f"{what} {path} is not a file", "name a regular file")
    _must_be_closed(file, f"{what} {real}", f"chmod go-w {real}")
    _must_be_closed(folder, f"the folder of {what} {real}", f"chmod go-w {real.parent}")
    return real


def _must_be_closed(status: os.stat_result, name: str, mend: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise InsecureError(f"{name} belongs to another user (uid {status.st_uid})", "give it to root")
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & _STICKY_FOLDER
    if status.st_mode & 0o022 and not sticky:
        raise InsecureError(f"{name} can be written by others", mend)
