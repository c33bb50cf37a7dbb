"""Secret bytes in locked memory that stays out of swap and core dumps and is zeroed when a secret is released.

Use SecretBuffer for every key. Copies that the interpreter or a library makes on the way are not covered: the promise
is "not on disk, not in swap, not in a core dump", not "erased from memory" (tiktrue-keys-security(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
from types import TracebackType
from typing import Self

from tiktrue_keys.errors import InternalError

_CELL = 64
_CHUNK = 64 * 1024
# An ordinary user's RLIMIT_MEMLOCK is 8 MiB on current kernels and 64 KiB on old ones: one chunk fits both.

_MADV_DONTDUMP = 16
_MADV_WIPEONFORK = 18


class _Arena:
    """Allocates cells in locked pages: 64 bytes for short secrets, whole pages for longer ones.

    The arena grows by chunks of 64 KiB for cells, or of the pages needed, and never shrinks. The free lists need no
    lock, because append and pop are atomic; a garbage collection that wipes a secret in the middle of `take` must not
    wait.
    """

    def __init__(self) -> None:
        self._growing = threading.RLock()
        self._free: dict[int, list[memoryview]] = {}
        self._chunks: list[mmap.mmap] = []
        self.locked = True

    def take(self, length: int) -> memoryview:
        size = _CELL if length <= _CELL else -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
        free = self._free.setdefault(size, [])
        while True:
            with contextlib.suppress(IndexError):
                return free.pop()
            chunk = memoryview(self._map(max(size, _CHUNK) if size == _CELL else size))
            free.extend(chunk[at : at + size] for at in range(0, len(chunk), size))

    def give_back(self, cell: memoryview) -> None:
        cell[:] = bytes(len(cell))
        self._free[len(cell)].append(cell)

    def _map(self, size: int) -> mmap.mmap:
        with self._growing:
            # Private: a forked child would share the memory of a shared mapping, and the fork could not wipe it.
            pages = _private_pages(size)
            self._chunks.append(pages)
            self.locked = _lock_pages(pages, size) and self.locked
            return pages


def _private_pages(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _lock_pages(pages: mmap.mmap, size: int) -> bool:
    """Keep the pages out of swap, core dumps and forked children; return False if the system does not lock them."""
    if not sys.platform.startswith(("linux", "darwin")):
        return False
    for advice in (_MADV_DONTDUMP, _MADV_WIPEONFORK) if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError):
            pages.madvise(advice)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size))) == 0


_arena = _Arena()


def memory_is_locked() -> bool:
    """Return whether every page that has held a secret in this process is locked; for `doctor`."""
    SecretBuffer(1).wipe()
    return _arena.locked


class SecretBuffer:
    """A buffer of `length` secret bytes, initially zero.

    The end of its `with` block, `wipe()` and garbage collection all zero it.
    """

    __slots__ = ("_cell", "_length", "_process", "view")

    def __init__(self, length: int) -> None:
        if length < 1:
            raise InternalError("a secret needs at least one byte")
        self._cell: memoryview | None = _arena.take(length)
        self._length = length
        self._process = os.getpid()
        self.view = self._cell[:length]

    @classmethod
    def random(cls, length: int = 32) -> Self:
        """Return a buffer of `length` random bytes from the operating system."""
        return cls.copy_of(os.urandom(length))

    @classmethod
    def copy_of(cls, data: bytes | bytearray | memoryview) -> Self:
        """Return a copy of `data`. The caller still has to wipe `data`."""
        secret = cls(len(data))
        secret.view[:] = data
        return secret

    def wipe(self) -> None:
        """Zero the bytes and release the memory. Safe to call twice; the view is unusable afterwards."""
        cell, self._cell = self._cell, None
        if cell is None:
            return
        self.view.release()
        if self._process == os.getpid():  # in a child, the fork has wiped the copy
            _arena.give_back(cell)

    def __len__(self) -> int:
        return self._length

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __del__(self) -> None:
        if getattr(self, "_cell", None) is not None:
            with contextlib.suppress(Exception):
                self.wipe()

    def __repr__(self) -> str:
        return f"SecretBuffer({self._length} bytes, hidden)"

    def __reduce__(self) -> str:
        raise InternalError("a secret is never pickled")
