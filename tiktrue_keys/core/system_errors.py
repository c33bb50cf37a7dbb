"""Translates the operating system's errors about files into ours, and makes paths printable.

Wrap file access in `foreign_os_errors`, so that the error names the file and says what to do.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from tiktrue_keys.errors import (
    DiskFullError,
    InsecureError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
)

_FREE_SPACE = "free some space on its file system or choose another place, then try again"
_ELSEWHERE = "choose another place"
_TEMPORARY = re.compile(r"^\.(.+)\.[0-9a-f]{8}\.tmp$", re.DOTALL)
_OS_ERRORS: dict[int, tuple[type[TikTrueKeysError], str, str]] = {
    errno.ENOENT: (NotFoundError, "does not exist", ""),
    errno.ENOTDIR: (NotFoundError, "does not exist: a part of its path is not a folder", ""),
    errno.EEXIST: (RefusedError, "exists already", "choose another name, or remove it first"),
    errno.EISDIR: (RefusedError, "is a folder", "give the path of a file"),
    errno.ENAMETOOLONG: (RefusedError, "has too long a name", "choose a shorter name"),
    errno.ENXIO: (RefusedError, "is not a regular file", ""),
    errno.EACCES: (RefusedError, "is not accessible to this user", "look at owner and mode of it and of its folder"),
    errno.EPERM: (RefusedError, "is not accessible to this user", "look at owner and attributes of it and its folder"),
    errno.ELOOP: (InsecureError, "is a symbolic link", "give the path of the file itself"),
    errno.ENOSPC: (DiskFullError, "cannot be written: no space left", _FREE_SPACE),
    errno.EDQUOT: (DiskFullError, "cannot be written: disk quota exceeded", _FREE_SPACE),
    errno.EFBIG: (UnavailableError, "cannot be written: too large for the file system or ulimit -f", _ELSEWHERE),
    errno.EROFS: (UnavailableError, "cannot be written: the file system is read-only", _ELSEWHERE),
    errno.EIO: (UnavailableError, "cannot be read or written: input/output error", "look at the kernel's log"),
}


@contextmanager
def foreign_os_errors(what: str, path: str | PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into one of our errors, which names `what` and `path`.

    An errno without an entry in the table becomes an UnavailableError. BrokenPipeError passes unchanged: the command
    line ends silently on it.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        unforeseen = f"cannot be used: {(error.strerror or str(error)).lower()}"
        kind, reason, hint = _OS_ERRORS.get(error.errno or 0, (UnavailableError, unforeseen, ""))
        raise kind(f"{what} {shown(path)} {reason}", hint) from error


def own_name(path: str | PathLike[str]) -> Path:
    """Return the path that an output will have, for one under the temporary name `.NAME.<8 hex>.tmp` or below it."""
    parts = [_TEMPORARY.sub(r"\1", part) for part in Path(path).parts]
    return Path(*parts)


def shown(path: str | PathLike[str]) -> str:
    """Return `path` for a message, with control characters and bytes that are not UTF-8 as backslash escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
