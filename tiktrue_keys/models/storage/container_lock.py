"""The lock of a container: flock(2) on its inode, held over every rewrite of the header and over a replacing rename.

Does not handle: file systems without flock (some network mounts); there the system's error comes through.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import BusyError

_POLL = 0.01  # seconds


@contextmanager
def locked_container(path: str | PathLike[str], timeout: float) -> Iterator[int]:
    """Hold the exclusive lock of the file that `path` names *now*; gives a descriptor to read and write, closed after.

    While waiting, another process may have renamed a new file over the path: then that one is opened and locked
    instead, so that whoever replaces a container holds the lock of the file that everyone else would open. `timeout` in
    seconds; BusyError when it passes; NotFoundError, RefusedError, UnavailableError when the file cannot be opened.
    """
    deadline = time.monotonic() + timeout
    fd = -1
    try:
        while True:
            with foreign_os_errors("the container", path):
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
                _lock(fd, deadline, path)
                if _is_still_at(fd, path):
                    break
            os.close(fd)
            fd = -1
        yield fd
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(fd: int, deadline: float, path: str | PathLike[str]) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        else:
            return
        if time.monotonic() >= deadline:
            raise BusyError(
                f"another process is working on {shown(path)}",
                "wait, or pass a longer lock_timeout",
                remedy="wait-longer",
            )
        time.sleep(_POLL)


def _is_still_at(fd: int, path: str | PathLike[str]) -> bool:
    """Whether `path` still names the open file; a path that is gone is seen by the next open."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


LOCK_TIMEOUT = 10.0
"""Seconds to wait for the lock of a container."""
