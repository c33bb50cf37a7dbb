"""New files below a folder that has no name yet: written under their own names, synced many at a time.

Come here for files that count only with something that is written after them, such as the manifest of their folder.
They need no temporary name and no sync of their own:

    files = UnsyncedFiles(tell)
    with files.new(path, size) as new:
        new.write(data)
        new.keep("what `tell` gets once the file is on stable storage")
    files.sync()

Does not handle: a single file that counts by itself (NewFile in core/durable.py), the folders' own entries.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tiktrue_keys.core.durable import sync_file, write_all
from tiktrue_keys.core.system_errors import foreign_os_errors, own_name
from tiktrue_keys.models.storage.descriptors import allowed_descriptors
from tiktrue_keys.models.storage.files import preallocate
from tiktrue_keys.models.storage.overlap import overlapped

FILES_AT_ONCE = 500
BYTES_AT_ONCE = 256 << 20
"""How many files, and bytes of them, wait for one sync."""
_WORTH_RESERVING = 1 << 20
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WHAT = "the output"

_Item = TypeVar("_Item")


@dataclass
class NewUnsynced(Generic[_Item]):
    """A file being written at `fd`. Without `keep` it is removed at the end of its block."""

    path: Path
    fd: int
    kept: list[_Item]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at the descriptor's position."""
        with foreign_os_errors(_WHAT, own_name(self.path)):
            write_all(self.fd, data)

    def keep(self, item: _Item) -> None:
        """Let the file stay; `item` is passed on once the file is synced."""
        self.kept.append(item)


class UnsyncedFiles(Generic[_Item]):
    """Files that wait to be synced. Thread-safe.

    `tell` gets the items of a batch after all of its files are on stable storage, one batch after another. A file stays
    open until then: an error of its writeback is reported to its descriptor alone.
    """

    def __init__(self, tell: Callable[[list[_Item]], None], *, sync: Callable[[int], None] = sync_file) -> None:
        self._tell = tell
        self._sync_one = sync
        self._limit = allowed_descriptors(2 * FILES_AT_ONCE) // 2  # one batch fills while another is synced
        self._guard = threading.Lock()
        self._syncing = threading.Lock()
        self._waiting: list[tuple[Path, int, _Item]] = []
        self._bytes = 0

    def __enter__(self) -> UnsyncedFiles[_Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def new(self, path: Path, size: int) -> Iterator[NewUnsynced[_Item]]:
        """Create the file `path`, mode 0600, for about `size` bytes. Raises DiskFullError when there is no room."""
        new: NewUnsynced[_Item] = NewUnsynced(path, -1, [])
        try:
            with foreign_os_errors(_WHAT, own_name(path)):
                new.fd = os.open(path, _FLAGS, 0o600)
                os.fchmod(new.fd, 0o600)  # regardless of the umask
                if size >= _WORTH_RESERVING:
                    preallocate(new.fd, size, own_name(path))
                yield new
        except BaseException:
            new.kept.clear()
            raise
        finally:
            if not new.kept and new.fd >= 0:
                os.close(new.fd)
                with suppress(OSError):
                    os.unlink(path)
        if new.kept:
            self._wait(new, size)

    def sync(self) -> None:
        """Sync every file that waits. Raises DiskFullError, UnavailableError."""
        with self._syncing:  # so that no batch is told of before an earlier one
            with self._guard:
                batch, self._waiting, self._bytes = self._waiting, [], 0
            try:
                overlapped(self._sync, batch)
            finally:
                for _, fd, _ in batch:
                    os.close(fd)
            if batch:
                self._tell([item for _, _, item in batch])

    def close(self) -> None:
        """Close what still waits, unsynced."""
        with self._guard:
            batch, self._waiting = self._waiting, []
        for _, fd, _ in batch:
            os.close(fd)

    def _wait(self, new: NewUnsynced[_Item], size: int) -> None:
        with self._guard:
            self._waiting.append((new.path, new.fd, new.kept[0]))
            self._bytes += size
            full = len(self._waiting) >= self._limit or self._bytes >= BYTES_AT_ONCE
        if full:
            self.sync()

    def _sync(self, waiting: tuple[Path, int, _Item]) -> None:
        path, fd, _ = waiting
        with foreign_os_errors(_WHAT, own_name(path)):
            self._sync_one(fd)
