"""A sink that takes segments from several threads and writes them in order."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from tiktrue_keys.models.format.trailer import Trailer


class InOrder(ABC):
    """Any segments, one after the other; `written` counts the bytes that went out. Says nothing of where to.

    A whole container too: its header goes first, because nothing can be written before what is out already.
    """

    header_first = True

    def __init__(self) -> None:
        self.written = 0
        self._next = 0
        self._turn = threading.Condition()

    def preface(self, data: bytes) -> None:
        """Write what stands before segment 0, or after the last one."""
        self._send(memoryview(data), threading.Event())

    def write_header(self, data: bytes) -> None:
        """Write a container's header, before everything else."""
        self.preface(data)

    def write_trailer(self, trailer: Trailer, offset: int) -> None:
        """Write what comes after the body, which ends at `offset`."""
        self.preface(trailer.encode())

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        """Write segment `index` once all before it were."""
        with self._turn:
            self._turn.wait_for(lambda: self._next == index or stop.is_set())
        if stop.is_set():
            return
        self._send(view, stop)
        with self._turn:
            self._next = index + 1
            self._turn.notify_all()

    def wake(self) -> None:
        """Let go those who wait for their turn."""
        with self._turn:
            self._turn.notify_all()

    @abstractmethod
    def _send(self, view: memoryview, stop: threading.Event) -> None:
        """Write all of `view` and count it in `written`; may return early when `stop` is set."""


Target = int | InOrder
"""Where an output goes: the descriptor of a new, empty file, or what takes it in order: a pipe, an upload."""
