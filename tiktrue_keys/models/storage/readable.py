"""Whole reads and writes at a place in a file, however little each system call moves. Raises the system's OSError.

What is read at places is a descriptor or a `Positioned`, an object in a storage service (object_requests.py). Only
this module tells the two apart.
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
    """Something that is no file of this machine and can be read at any place, by any number of threads at once."""

    @property
    def size(self) -> int:
        """Its length in bytes, when it was opened."""

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from `offset`; the number of bytes read, fewer than its length only at the end."""

    def stamp(self) -> object:
        """What differs once it was changed."""


Readable = int | Positioned
"""A descriptor that can seek, or an object in somebody's storage."""


def size_of(readable: Readable) -> int:
    """The bytes that there are."""
    return os.fstat(readable).st_size if isinstance(readable, int) else readable.size


def extent_of(readable: Readable) -> tuple[int, int | None]:
    """The position to read from and the bytes from there on; None for a pipe, whose length is not known."""
    if not isinstance(readable, int):
        return 0, readable.size
    found = os.fstat(readable)
    if not stat.S_ISREG(found.st_mode):
        return 0, None
    position = os.lseek(readable, 0, os.SEEK_CUR)
    return position, max(0, found.st_size - position)


def stamp_of(readable: Readable) -> object:
    """What differs once it was changed: of a file its size and time of change."""
    if not isinstance(readable, int):
        return readable.stamp()
    found = os.fstat(readable)
    return found.st_size, found.st_mtime_ns


def is_file(readable: Readable, path: Path) -> bool:
    """Whether the file at `path` is what is open there."""
    try:
        return isinstance(readable, int) and os.path.samestat(os.fstat(readable), os.stat(path))
    except OSError:
        return False


def pipe_of(readable: Readable) -> int:
    """The descriptor of what has no length."""
    assert isinstance(readable, int), "an object has a length"
    return readable


def is_remote(readable: Readable) -> bool:
    """Whether a read waits for a network, so that more threads read faster."""
    return not isinstance(readable, int)


def kept_open(readable: Readable) -> Readable:
    """The same for another holder, who gives it to `let_go`."""
    return os.dup(readable) if isinstance(readable, int) else readable


def let_go(readable: Readable) -> None:
    """Close what `kept_open` gave; an object holds nothing open."""
    if isinstance(readable, int):
        os.close(readable)


def pread_full(fd: Readable, length: int, offset: int) -> bytes:
    """The `length` bytes at `offset`, fewer only at the end of the file."""
    if not isinstance(fd, int):
        buffer = bytearray(min(length, max(0, fd.size - offset)))
        with memoryview(buffer) as view:
            return bytes(buffer[: fd.read_into(view, offset)])
    data = os.pread(fd, length, offset)
    while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


def pread_into(fd: Readable, view: memoryview, offset: int) -> int:
    """Fill `view` from `offset`; the number of bytes read, fewer than its length only at the end of the file."""
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
    """Write all of `data` at `offset` with RWF_DSYNC; OSError where kernel or file system do not know it."""
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
    of a freshly copied body. It is the fallback where `flagged` says that the flag is unknown.
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
