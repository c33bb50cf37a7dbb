"""The pipeline's sources: a file or object, read by all threads at once, or a stream, read by one thread at a time.

A source returns each segment once, by index, and is thread-safe. It fills the caller's buffer.

Does not handle: the meaning of the bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tiktrue_keys.errors import IntegrityError, UnavailableError
from tiktrue_keys.models.format.body import TAG_LENGTH, Geometry, check_segment_count
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.format.trailer import TAIL_LENGTH
from tiktrue_keys.models.storage.readable import Readable, pread_into

_POLL_MS = 200  # how long an idle pipe can keep a cancelled thread
_PIPE_SIZE = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A segment that a source put at the start of the buffer: `length` bytes."""

    index: int
    last: bool
    length: int


class Source(Protocol):
    """A source of segments, called from any number of threads."""

    @property
    def only(self) -> int | None:
        """Return the length in bytes of the only segment; None when there may be more."""

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        """Put the next segment into `view`; None at the end, or when `stop` was set while waiting."""


class _Positioned:
    def __init__(self, fd: Readable, count: int, first: int) -> None:
        self._fd = fd
        self._count = count
        self.only = first if count == 1 else None
        self._next = 0
        self._guard = threading.Lock()

    def _next_index(self) -> int | None:
        with self._guard:
            index = self._next
            if index == self._count:
                return None
            self._next = index + 1
            return index


class PlainFile(_Positioned):
    """`length` bytes of plaintext in a seekable file from `offset` on. Raises UnavailableError when it is shorter."""

    def __init__(self, fd: Readable, geometry: Geometry, length: int, offset: int = 0) -> None:
        super().__init__(fd, _count(geometry, length), geometry.segment(0, length).plain_length)
        self._geometry = geometry
        self._length = length
        self._offset = offset

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        index = self._next_index()
        if index is None:
            return None
        segment = self._geometry.segment(index, self._length)
        wanted = segment.plain_length
        if pread_into(self._fd, view[:wanted], self._offset + segment.plain_offset) != wanted:
            raise UnavailableError("the file shrank while it was read", "encrypt it when nothing writes to it")
        return Piece(index, segment.last, wanted)


class BodyFile(_Positioned):
    """The body of `length` bytes of plaintext in a seekable container. Raises IntegrityError when it ends early."""

    def __init__(self, fd: Readable, geometry: Geometry, length: int, offset: int = HEADER_SIZE) -> None:
        super().__init__(fd, _count(geometry, length), geometry.segment(0, length).body_length)
        self._geometry = geometry
        self._length = length
        self._offset = offset

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        index = self._next_index()
        if index is None:
            return None
        segment = self._geometry.segment(index, self._length)
        wanted = segment.body_length
        if pread_into(self._fd, view[:wanted], self._offset + segment.body_offset) != wanted:
            raise IntegrityError("the container was cut off")
        return Piece(index, segment.last, wanted)


class _Stream:
    """Segments of a stream of unknown length. The last `hold_back` bytes of the stream are kept back."""

    only = None

    def __init__(self, fd: int, full_length: Callable[[int], int], hold_back: int, already: bytes) -> None:
        self._fd = fd
        self._full_length = full_length
        self._hold_back = hold_back
        self._ahead = bytearray(already)
        self._next = 0
        self._ended = False
        self._turn = threading.Lock()
        _widen_pipe(fd)

    @property
    def tail(self) -> bytes:
        """Return the bytes kept back, once `take` has returned None."""
        return bytes(self._ahead)

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        with self._turn:
            if self._ended or stop.is_set():
                return None
            check_segment_count(self._next + 1)
            piece = self._read(view[: self._full_length(self._next)], stop)
            self._next += 1
            return None if stop.is_set() else piece

    def _read(self, view: memoryview, stop: threading.Event) -> Piece:
        """Fill `view` and read `hold_back` + 1 bytes ahead: the extra byte shows that another segment follows."""
        known = min(len(self._ahead), len(view))
        view[:known] = self._ahead[:known]
        surplus = len(self._ahead) - known
        ahead = bytearray(max(self._hold_back + 1, surplus))
        ahead[:surplus] = self._ahead[known:]
        with memoryview(ahead) as ahead_view:
            total = len(self._ahead) + fill(self._fd, [view[known:], ahead_view[surplus:]], stop)
        if total == len(view) + len(ahead):
            self._ahead = ahead
            return Piece(self._next, False, len(view))
        self._ended = True
        length = total - self._hold_back
        in_view = min(total, len(view))
        self._ahead = bytearray(view[length:in_view]) + ahead[max(0, length - in_view) : total - in_view]
        return Piece(self._next, True, length)


class PlainStream(_Stream):
    """Plaintext from a pipe, to its end; `already` holds the bytes read before, to detect its kind."""

    def __init__(self, fd: int, geometry: Geometry, already: bytes = b"") -> None:
        super().__init__(fd, geometry.full_plain_length, 0, already)


class BodyStream(_Stream):
    """A body from a pipe, after the header and body header were read; `tail` is the trailer (200 bytes) at the end.

    Use it for a container without a length in its header, where the body ends 200 bytes before the end of the stream.
    """

    def __init__(self, fd: int, geometry: Geometry) -> None:
        super().__init__(fd, geometry.full_body_length, TAIL_LENGTH, b"")

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        piece = super().take(view, stop)
        if piece is not None and piece.length < TAG_LENGTH + (1 if piece.index else 0):
            raise IntegrityError("the container was cut off")
        return piece


class SizedBodyStream:
    """The body of `length` bytes of plaintext from a pipe, after both headers were read; does not read the trailer."""

    only = None

    def __init__(self, fd: int, geometry: Geometry, length: int) -> None:
        self._fd = fd
        self._geometry = geometry
        self._length = length
        self._count = _count(geometry, length)
        self._next = 0
        self._turn = threading.Lock()
        _widen_pipe(fd)

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        with self._turn:
            if self._next == self._count or stop.is_set():
                return None
            segment = self._geometry.segment(self._next, self._length)
            got = fill(self._fd, [view[: segment.body_length]], stop)
            if stop.is_set():
                return None
            if got != segment.body_length:
                raise IntegrityError("the container was cut off")
            self._next += 1
            return Piece(segment.index, segment.last, segment.body_length)


def read_stream(fd: int, length: int) -> bytes:
    """Return `length` bytes from a pipe, fewer only at its end. Allocates `length` bytes at once."""
    data = bytearray(length)
    with memoryview(data) as view:
        got = fill(fd, [view], threading.Event())
    return bytes(data[:got])


def fill(fd: int, views: list[memoryview], stop: threading.Event) -> int:
    """Read until `views` are full, the stream ends or `stop` is set; return the number of bytes read."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    total = 0
    while views := [view for view in views if len(view)]:
        while not poller.poll(_POLL_MS):
            if stop.is_set():
                return total
        try:
            got = os.readv(fd, views)
        except BlockingIOError:
            continue
        if got == 0:
            return total
        total += got
        for at, view in enumerate(views):
            used = min(got, len(view))
            views[at] = view[used:]
            got -= used
    return total


def _count(geometry: Geometry, length: int) -> int:
    count = geometry.segment_count(length)
    check_segment_count(count)
    return count


def _widen_pipe(fd: int) -> None:
    """Enlarge a pipe from 64 KiB to one segment, for fewer context switches. Ignores a refusal."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
