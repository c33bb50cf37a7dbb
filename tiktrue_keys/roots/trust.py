"""Checks the files that a setting of a way names, before one is loaded or believed.

Come here for InsecureError about a PKCS#11 module or a CA file. A user who can change such a file chooses what
runs with our secrets, or which server gets them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tiktrue_keys.core.trusted_path import must_be_trusted
from tiktrue_keys.errors import InsecureError, UnavailableError, UsageError


def must_be_ours(path: str, what: str) -> Path:
    """Return the real path of a regular file that only root or this user can change or replace.

    Raises UsageError for a relative path, UnavailableError when there is no file, InsecureError when another user could
    write to it or to a folder on the way to it.
    """
    if not os.path.isabs(path) or "\0" in path:
        raise UsageError(f"{what} is not an absolute path: {path[:200]!r}", "begin it with /")
    try:
        real = must_be_trusted(Path(path))
        status = real.stat()
    except OSError as error:
        words = f"{what} {path} cannot be read: {error.strerror}"
        raise UnavailableError(words, "install it, or name another") from None
    except InsecureError as error:
        raise InsecureError(f"{what} {path} is not used: {error.message}", error.hint) from None
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{what} {path} is not a file", "name a regular file")
    return real
