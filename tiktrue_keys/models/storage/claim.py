"""Marks a temporary file or folder as in use with flock(2), so that another process does not take it for a leftover.

A pid would not do: two OS containers on one host can share a keystore and not see each other's processes.

Does not handle: file systems without flock. A claim has no effect there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from os import PathLike

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import BusyError

_HELD = (errno.EWOULDBLOCK, errno.EACCES)


def claim(fd: int) -> None:
    """Claim the file or folder open at `fd` until the descriptor is closed or this process dies."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def claimed_folder(path: str | PathLike[str]) -> Iterator[None]:
    """Claim a folder for the duration of the block."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        claim(fd)
        yield
    finally:
        os.close(fd)


def must_be_unclaimed(path: str | PathLike[str]) -> None:
    """Raises BusyError when another process has claimed the file or folder at `path`. A missing one is unclaimed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise BusyError(f"another process is using {shown(path)}", "wait until it has finished") from None
    finally:
        os.close(fd)
