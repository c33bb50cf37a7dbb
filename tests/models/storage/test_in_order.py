"""Segments from several threads leave in their order, and a stopped thread writes nothing."""

from __future__ import annotations

import threading

from tests.waiting import PATIENCE
from tiktrue_keys.models.storage.in_order import InOrder


class Collected(InOrder):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def _send(self, view: memoryview, stop: threading.Event) -> None:
        self.sent.append(bytes(view))
        self.written += len(view)


def put_each(sink: Collected, indexes: list[int], stop: threading.Event) -> list[threading.Thread]:
    """One thread a segment, started in this order."""
    threads = [threading.Thread(target=sink.put, args=(index, memoryview(b"%d" % index), stop)) for index in indexes]
    for thread in threads:
        thread.start()
    return threads


def test_the_last_to_come_may_be_the_first_to_go() -> None:
    sink = Collected()
    for thread in put_each(sink, [3, 2, 1, 0], threading.Event()):
        thread.join(PATIENCE)
    assert sink.sent == [b"0", b"1", b"2", b"3"]
    assert sink.written == 4


def test_a_header_goes_before_and_counts() -> None:
    sink = Collected()
    sink.write_header(b"header")
    sink.put(0, memoryview(b"0"), threading.Event())
    assert sink.sent == [b"header", b"0"]
    assert sink.written == 7


def test_a_thread_that_is_stopped_while_it_waits_writes_nothing() -> None:
    sink, stop = Collected(), threading.Event()
    (waiting,) = put_each(sink, [1], stop)
    stop.set()
    sink.wake()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert sink.sent == []
