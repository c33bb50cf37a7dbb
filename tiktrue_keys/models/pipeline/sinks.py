"""The pipeline's sinks: a file, written at any offset in any order, or a stream or object, written in order.

Several threads call a sink. Does not handle: sync, rename, temporary names (core/durable.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import threading
from typing import Protocol

from tiktrue_keys.models.format.body import BODY_HEADER_LENGTH, Geometry
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.format.trailer import Trailer
from tiktrue_keys.models.storage.in_order import InOrder, Target
from tiktrue_keys.models.storage.readable import pwrite_full

_POLL_MS = 200
_CHUNK = 1 << 17  # between two writes of this size a cancelled thread notices
_PIPE_SIZE = 1 << 20


class Sink(Protocol):
    """A destination for segments, called from any number of threads."""

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        """Write segment `index`; may return without having written when `stop` is set."""

    def wake(self) -> None:
        """Wake the threads that wait for their turn, after `stop` was set."""


class BodySink(Sink, Protocol):
    """A sink for a body, whose 40 bytes of header come before its segments."""

    def preface(self, data: bytes) -> None:
        """Write the bytes before segment 0."""


class ContainerSink(BodySink, Protocol):
    """A sink for a whole container."""

    header_first: bool
    """Whether the header is written before the body; else after it, when the length is known."""

    def write_header(self, data: bytes) -> None:
        """Write the 64 KiB before the body."""

    def write_trailer(self, trailer: Trailer, offset: int) -> None:
        """Write the trailer after the body, which ends at `offset`."""


def plain_sink(out: Target, geometry: Geometry) -> Sink:
    """Return the sink that writes a plaintext to `out`."""
    return out if isinstance(out, InOrder) else PlainFileSink(out, geometry)


def container_sink(out: Target, geometry: Geometry, *, small: bool = False) -> ContainerSink:
    """Return the sink that writes a container, of one segment if it is `small`, to `out`."""
    if isinstance(out, InOrder):
        return out
    return SmallContainerSink(out, geometry) if small else ContainerFileSink(out, geometry)


class PlainFileSink:
    """Writes plaintext to a new, seekable file."""

    def __init__(self, fd: int, geometry: Geometry) -> None:
        self._fd = fd
        self._geometry = geometry

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        pwrite_full(self._fd, view, self._geometry.plain_offset(index))

    def wake(self) -> None:
        pass


class ContainerFileSink:
    """Writes a container to a new, seekable file; its body begins at `offset`."""

    header_first = False

    def __init__(self, fd: int, geometry: Geometry, offset: int = HEADER_SIZE) -> None:
        self._fd = fd
        self._segment_size = geometry.segment_size
        self._offset = offset

    def write_header(self, data: bytes) -> None:
        pwrite_full(self._fd, data, 0)

    def write_trailer(self, trailer: Trailer, offset: int) -> None:
        if trailer.leaves is not None:
            pwrite_full(self._fd, trailer.leaves, offset)
        pwrite_full(self._fd, trailer.encode_tail(), offset + len(trailer.leaves or b""))

    def preface(self, data: bytes) -> None:
        pwrite_full(self._fd, data, self._offset)

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        pwrite_full(self._fd, view, self._offset + max(BODY_HEADER_LENGTH, index * self._segment_size))

    def wake(self) -> None:
        pass


class SmallContainerSink(ContainerFileSink):
    """Writes a container of one segment to a new file in one system call."""

    def __init__(self, fd: int, geometry: Geometry) -> None:
        super().__init__(fd, geometry)
        self._parts: list[bytes | bytearray] = []

    def write_header(self, data: bytes) -> None:
        pwrite_full(self._fd, b"".join((data, *self._parts)), 0)

    def write_trailer(self, trailer: Trailer, offset: int) -> None:
        self._parts += [trailer.leaves or b"", trailer.encode_tail()]

    def preface(self, data: bytes) -> None:
        self._parts.append(data)

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        self._parts.append(bytes(view))  # the buffer is the caller's


class StreamSink(InOrder):
    """Writes segments to a pipe, in order."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._poller = select.poll()
        self._poller.register(fd, select.POLLOUT)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def _send(self, view: memoryview, stop: threading.Event) -> None:
        done = 0
        while done < len(view):
            while not self._poller.poll(_POLL_MS):
                if stop.is_set():
                    return
            try:
                wrote = os.write(self._fd, view[done : done + _CHUNK])
            except BlockingIOError:
                continue
            done += wrote
            self.written += wrote
