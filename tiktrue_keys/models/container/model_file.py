"""A container's plaintext as a seekable read-only file, which decrypts segments on demand.

Thread-safe: `readinto_at` runs in any number of threads at once; methods that use the position take turns. Caching and
read-ahead are in container/segments.py.

Does not handle: keys, authorship and audit, which the caller does first; writing. Plaintext is in ordinary memory and
is zeroed when the file is closed.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tiktrue_keys.core.notices import Notice
from tiktrue_keys.models.container.container import Container
from tiktrue_keys.models.container.segments import OpenedSegments
from tiktrue_keys.models.format.trailer import Leaves
from tiktrue_keys.models.storage.readable import Readable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CACHED = 8
READ_AHEAD = 4


class ModelFile(io.RawIOBase):
    """An open model of `length` bytes.

    Takes ownership of `fd`, the open container (from kept_open), and closes it. `leaves` come from known_leaves.
    `cached` is the number of opened segments to keep (at least read_ahead + 2). `check` is called on the reading thread
    before a segment is opened, and raises to forbid it (for example after a revocation). `warnings` are those of the
    opening, for example that the key is deprecated or that no newer release could be received. Reading raises
    IntegrityError for a changed segment, OSError from the system, UnavailableError from a storage, ValueError once
    closed.
    """

    def __init__(
        self,
        fd: Readable,
        container: Container,
        data_key: memoryview,
        *,
        leaves: Leaves,
        check: Callable[[], None] | None = None,
        cached: int = CACHED,
        read_ahead: int = READ_AHEAD,
        warnings: tuple[Notice, ...] = (),
    ) -> None:
        super().__init__()
        self.length = container.length
        self.warnings = warnings
        self._position = 0
        self._turn = threading.RLock()
        self._segments = OpenedSegments(fd, container, data_key, leaves, check, max(cached, read_ahead + 2), read_ahead)

    @property
    def bytes_decrypted(self) -> int:
        """Return the plaintext bytes decrypted so far, including read-ahead."""
        return self._segments.decrypted

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position, in bytes of plaintext."""
        self._refuse_closed()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, which may be beyond the end; return it. Raises ValueError before the start."""
        self._refuse_closed()
        with self._turn:
            bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}
            if whence not in bases:
                raise ValueError(f"whence {whence} is not 0, 1 or 2")
            if bases[whence] + offset < 0:
                raise ValueError("a position before the start")
            self._position = bases[whence] + offset
            return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` from the position; return the number of bytes, fewer only at the end."""
        with self._turn:
            got = self.readinto_at(buffer, self._position)
            self._position += got
            return got

    def readinto_at(self, buffer: WriteableBuffer, offset: int) -> int:
        """Fill `buffer` from `offset`, keeping the position; return the number of bytes, fewer only at the end."""
        self._refuse_closed()
        if offset < 0:
            raise ValueError("a position before the start")
        with memoryview(buffer) as whole, whole.cast("B") as octets:
            wanted = min(len(octets), max(0, self.length - offset))
            if wanted:
                with octets[:wanted] as view:
                    self._segments.read(view, offset)
            return wanted

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, or all remaining bytes."""
        with self._turn:
            left = max(0, self.length - self._position)
            data = bytearray(left if size is None or size < 0 else min(size, left))
            self.readinto(data)
            return bytes(data)

    def readall(self) -> bytes:
        """Return all remaining bytes."""
        return self.read(-1)

    def close(self) -> None:
        """Wait for reads in other threads, close the container and zero the opened segments."""
        if not self.closed:
            super().close()
            self._segments.close()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("the model file is closed")
