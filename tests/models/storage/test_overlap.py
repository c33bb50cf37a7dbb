"""Short operations whose waits overlap: every item once, several at a time, the first error after all have ended."""

from __future__ import annotations

import threading
import time

import pytest

from tests.waiting import PATIENCE
from tiktrue_keys.models.storage.overlap import overlapped


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 1000])
def test_every_item_is_worked_on_once(count: int) -> None:
    done: list[int] = []
    overlapped(done.append, range(count))
    assert sorted(done) == list(range(count))


def test_eight_wait_at_the_same_time() -> None:
    together = threading.Barrier(8)
    overlapped(lambda _: together.wait(PATIENCE), range(16))


def test_an_error_stops_the_others_and_is_raised_when_all_have_ended() -> None:
    begun: list[int] = []
    ended: list[int] = []
    threads = threading.active_count()

    def work(item: int) -> None:
        begun.append(item)
        if item == 3:
            raise OSError(5, "a broken disk")
        time.sleep(0.05)
        ended.append(item)

    with pytest.raises(OSError, match="a broken disk"):
        overlapped(work, range(100))
    assert len(begun) < 100
    assert {*ended, 3} == set(begun)
    assert threading.active_count() == threads
