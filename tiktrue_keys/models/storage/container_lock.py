"""The lock of a container: flock(2) on its inode, held over every rewrite of the header and over a replacing rename.

Does not handle: file systems without flock (some network mounts). The system's error is raised there.
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
    """Hold the exclusive lock of the file that `path` names *now*; yield a descriptor to read and write.

    Another process may rename a new file over the path during the wait. In that case the new file is opened and locked
    instead, so that the holder has the lock of the file that every other process would open. Waits at most `timeout`
    seconds, then raises BusyError. Raises NotFoundError, RefusedError or UnavailableError when opening fails.
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
                f"another process is using {shown(path)}",
                "wait, or pass a longer lock_timeout",
                remedy="wait-longer",
            )
        time.sleep(_POLL)


def _is_still_at(fd: int, path: str | PathLike[str]) -> bool:
    """Return whether `path` still names the open file. If the path is gone, the next open reports it."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


LOCK_TIMEOUT = 10.0
"""Seconds to wait for the lock of a container."""
