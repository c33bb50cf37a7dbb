"""A sink that takes segments from several threads and writes them in order."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from tiktrue_keys.models.format.trailer import Trailer


class InOrder(ABC):
    """A base class for sinks that cannot seek; `written` counts the bytes sent. Subclasses define the destination.

    It can take a whole container: the header then goes first, because earlier bytes cannot be written later.
    """

    header_first = True

    def __init__(self) -> None:
        self.written = 0
        self._next = 0
        self._turn = threading.Condition()

    def preface(self, data: bytes) -> None:
        """Write the bytes before segment 0, or after the last segment."""
        self._send(memoryview(data), threading.Event())

    def write_header(self, data: bytes) -> None:
        """Write a container's header, before everything else."""
        self.preface(data)

    def write_trailer(self, trailer: Trailer, offset: int) -> None:
        """Write the trailer after the body, which ends at `offset`."""
        self.preface(trailer.encode())

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        """Write segment `index` after all segments before it; may return without writing when `stop` is set."""
        with self._turn:
            self._turn.wait_for(lambda: self._next == index or stop.is_set())
        if stop.is_set():
            return
        self._send(view, stop)
        with self._turn:
            self._next = index + 1
            self._turn.notify_all()

    def wake(self) -> None:
        """Wake the threads that wait for their turn."""
        with self._turn:
            self._turn.notify_all()

    @abstractmethod
    def _send(self, view: memoryview, stop: threading.Event) -> None:
        """Write all of `view` and count it in `written`; may return early when `stop` is set."""


Target = int | InOrder
"""Where an output goes: the descriptor of a new, empty file, or what takes it in order: a pipe, an upload."""
