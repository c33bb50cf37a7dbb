"""Complete reads and writes at an offset, repeated until every byte has moved. Raises the system's OSError.

A readable is a file descriptor or a `Positioned`, an object in a storage service (object_requests.py). Only this module
distinguishes the two.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tiktrue_keys.core.durable import sync_file

_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Positioned(Protocol):
    """A remote object that any number of threads can read at any offset at once."""

    @property
    def size(self) -> int:
        """Return its length in bytes at the time it was opened."""

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from `offset`; return the number of bytes read, fewer than its length only at the end."""

    def stamp(self) -> object:
        """Return a value that differs after a change."""


Readable = int | Positioned
"""A descriptor that can seek, or an object in a storage service."""


def size_of(readable: Readable) -> int:
    """Return the size in bytes."""
    return os.fstat(readable).st_size if isinstance(readable, int) else readable.size


def extent_of(readable: Readable) -> tuple[int, int | None]:
    """Return the position to read from and the number of bytes from there on, None for a pipe."""
    if not isinstance(readable, int):
        return 0, readable.size
    found = os.fstat(readable)
    if not stat.S_ISREG(found.st_mode):
        return 0, None
    position = os.lseek(readable, 0, os.SEEK_CUR)
    return position, max(0, found.st_size - position)


def stamp_of(readable: Readable) -> object:
    """Return a value that differs after a change; for a file, its size and modification time (ns)."""
    if not isinstance(readable, int):
        return readable.stamp()
    found = os.fstat(readable)
    return found.st_size, found.st_mtime_ns


def is_file(readable: Readable, path: Path) -> bool:
    """Return whether `readable` is the file at `path`."""
    try:
        return isinstance(readable, int) and os.path.samestat(os.fstat(readable), os.stat(path))
    except OSError:
        return False


def pipe_of(readable: Readable) -> int:
    """Return the descriptor of a pipe."""
    assert isinstance(readable, int), "an object has a length"
    return readable


def is_remote(readable: Readable) -> bool:
    """Return whether reads go over the network, where more threads read faster."""
    return not isinstance(readable, int)


def kept_open(readable: Readable) -> Readable:
    """Duplicate it for another holder, who closes it with `let_go`."""
    return os.dup(readable) if isinstance(readable, int) else readable


def let_go(readable: Readable) -> None:
    """Close a readable from `kept_open`; for an object there is nothing to close."""
    if isinstance(readable, int):
        os.close(readable)


def pread_full(fd: Readable, length: int, offset: int) -> bytes:
    """Return the `length` bytes at `offset`, fewer only at the end of the file."""
    if not isinstance(fd, int):
        buffer = bytearray(min(length, max(0, fd.size - offset)))
        with memoryview(buffer) as view:
            return bytes(buffer[: fd.read_into(view, offset)])
    data = os.pread(fd, length, offset)
    while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


def pread_into(fd: Readable, view: memoryview, offset: int) -> int:
    """Fill `view` from `offset`; return the number of bytes read, fewer than its length only at the end of the file."""
    if not isinstance(fd, int):
        return fd.read_into(view, offset)
    done = os.preadv(fd, [view], offset)
    while 0 < done < len(view):
        with view[done:] as rest:
            more = os.preadv(fd, [rest], offset + done)
        if more == 0:
            break
        done += more
    return done


def pwrite_full(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    done = os.pwrite(fd, data, offset)
    with memoryview(data) as view:
        while done < len(view):
            with view[done:] as rest:
                done += os.pwrite(fd, rest, offset + done)


def pwrite_flagged(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset` with RWF_DSYNC. Raises OSError where kernel or file system do not support it."""
    done = 0
    with memoryview(data) as view:
        while done < len(view):
            with view[done:] as rest:
                done += os.pwritev(fd, [rest], offset + done, os.RWF_DSYNC)


def pwrite_synced(
    fd: int, data: bytes, offset: int, *, flagged: Callable[[int, bytes, int], None] = pwrite_flagged
) -> None:
    """Write all of `data` at `offset` and return once it is on stable storage.

    RWF_DSYNC waits for these bytes alone; fdatasync would first flush every dirty page of the file, 327 ms for each GiB
    of a freshly copied body. fdatasync is the fallback where the flag is not supported.
    """
    if hasattr(os, "RWF_DSYNC"):
        try:
            flagged(fd, data, offset)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
        else:
            return
    pwrite_full(fd, data, offset)
    sync_file(fd)
