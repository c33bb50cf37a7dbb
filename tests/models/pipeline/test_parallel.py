"""Several files at once: how many, in which order, within which memory, and what becomes of them when one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.waiting import PATIENCE
from tiktrue_keys.errors import RefusedError, UnavailableError, UsageError
from tiktrue_keys.models.pipeline.parallel import MAX_JOBS, StoppedError, Task, default_jobs, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport

Work = Callable[[ProgressReport], object]


def tasks(*works: Work, size: int = 10) -> list[Task[object]]:
    return [Task(size, work) for work in works]


def until_stopped(report: ProgressReport) -> None:
    """Work that never ends by itself."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        report(1, None)
        time.sleep(0.001)
    raise AssertionError("nobody stopped it")


class Counter:
    """Counts how many run at the same time. Each run waits until `expected` were there together."""

    def __init__(self, expected: int) -> None:
        self.now = self.most = 0
        self._expected = expected
        self._changed = threading.Condition()

    def __call__(self, _: ProgressReport) -> None:
        with self._changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.most >= self._expected, PATIENCE)
        time.sleep(0.02)  # one more that is let in would be seen
        with self._changed:
            self.now -= 1


def test_so_many_at_once_and_the_results_in_their_order() -> None:
    met = threading.Barrier(3)

    def work(number: int) -> Work:
        def meet_the_others(_: ProgressReport) -> object:
            met.wait(PATIENCE)
            time.sleep(0.05 * (3 - number % 3))
            return number

        return meet_the_others

    assert side_by_side(tasks(*map(work, range(6))), jobs=3, progress=None) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_than_so_many(jobs: int) -> None:
    counter = Counter(jobs)
    side_by_side(tasks(*[counter] * 9), jobs=jobs, progress=None)
    assert counter.most == jobs


@pytest.mark.parametrize(("size", "most"), [(1 << 20, 7), (140 << 30, 2), (1 << 50, 1)])
def test_memory_bounds_them_too(size: int, most: int) -> None:
    """4 MiB of buffers each, and 64 bytes for each MiB of the file, of 32 MiB; one always goes on."""
    counter = Counter(most)
    side_by_side(tasks(*[counter] * 20, size=size), jobs=MAX_JOBS, progress=None)
    assert counter.most == most


def test_nothing_to_do() -> None:
    assert side_by_side([], jobs=None, progress=None) == []
    assert 1 <= default_jobs() <= 4


@pytest.mark.parametrize("jobs", [0, -1, MAX_JOBS + 1])
def test_how_many_there_may_be(jobs: int) -> None:
    with pytest.raises(UsageError, match="at once"):
        side_by_side(tasks(until_stopped), jobs=jobs, progress=None)


def test_of_several_failures_the_first_in_order_is_told() -> None:
    failed = threading.Event()

    def first(_: ProgressReport) -> None:
        assert failed.wait(PATIENCE)
        raise RefusedError("the first file")

    def second(_: ProgressReport) -> None:
        failed.set()
        raise UnavailableError("the second file")

    with pytest.raises(RefusedError, match="the first file"):
        side_by_side(tasks(first, second), jobs=2, progress=None)


def test_a_failure_stops_those_under_way_and_begins_no_more() -> None:
    begun: list[int] = []

    def fail(_: ProgressReport) -> None:
        raise UnavailableError("the disk is gone")

    def stopped(report: ProgressReport) -> None:
        begun.append(1)
        until_stopped(report)

    with pytest.raises(UnavailableError, match="gone"):
        side_by_side(tasks(stopped, fail, *[stopped] * 20), jobs=2, progress=None)
    assert len(begun) <= 2


def test_whoever_is_stopped_has_cleaned_up_before_the_error_is_told() -> None:
    left: list[str] = []

    def clean_up_slowly(report: ProgressReport) -> None:
        left.append("a file")
        try:
            until_stopped(report)
        except StoppedError:
            time.sleep(0.2)
            left.clear()
            raise

    def fail(_: ProgressReport) -> None:
        while not left:
            time.sleep(0.001)
        raise UnavailableError("the disk is gone")

    with pytest.raises(UnavailableError):
        side_by_side(tasks(clean_up_slowly, fail), jobs=2, progress=None)
    assert left == []


def test_an_interrupt_stops_them_all() -> None:
    threads = threading.active_count()

    def interrupt(done: int, _: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(tasks(*[until_stopped] * 5), jobs=3, progress=interrupt)
    assert threading.active_count() == threads


def test_progress_is_of_all_together_and_never_goes_back() -> None:
    seen: list[tuple[int, int | None]] = []
    on: set[threading.Thread] = set()

    left = list(range(40))

    def back_and_forth(report: ProgressReport) -> None:
        while left:
            report(200, None)  # over its end
            time.sleep(0.0005)
            report(0, None)
            time.sleep(0.0005)

    def soon_done(_: ProgressReport) -> None:
        time.sleep(0.01)
        left.pop()

    def progress(done: int, total: int | None) -> None:
        seen.append((done, total))
        on.add(threading.current_thread())

    both = [*tasks(back_and_forth), *tasks(*[soon_done] * 40, size=1)]
    side_by_side(both, jobs=2, progress=progress)
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {50}
    assert seen[-1] == (50, 50)
    assert len(seen) > 2
    assert on == {threading.current_thread()}
