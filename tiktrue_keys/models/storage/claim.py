"""Says of a temporary file or folder that somebody is at work on it, so that nobody takes it for what a dead one left.

A pid tells that only to those who see the same processes: two containers of one host that share a keystore do not. It
does not handle: file systems without flock; there a claim is worth nothing and nobody is stopped.
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
    """Hold the file or folder that is open at `fd` until it is closed, or this process dies."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def claimed_folder(path: str | PathLike[str]) -> Iterator[None]:
    """Hold a folder for the block."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        claim(fd)
        yield
    finally:
        os.close(fd)


def must_be_unclaimed(path: str | PathLike[str]) -> None:
    """BusyError when somebody holds what lies at `path`; nothing at all is held by nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise BusyError(f"another process is working on {shown(path)}", "wait for it") from None
    finally:
        os.close(fd)
