"""Processes several files of a folder at once, within a memory limit, with one progress report and one error.

Files start in their order. The caller's thread only waits and reports, so that a KeyboardInterrupt arrives there. A
stopped task notices at its next progress report, ten times a second, and cleans up as it unwinds.

Does not handle: undoing finished files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.format.body import SEGMENT_SIZE
from tiktrue_keys.models.format.trailer import LEAF_LENGTH
from tiktrue_keys.models.pipeline.pipeline import THREADS
from tiktrue_keys.models.pipeline.progress import ProgressReport

MAX_JOBS = 64
_MEMORY = 32 << 20
"""Most bytes that all files may use for buffers together; the program itself takes 40 MiB."""
PIPELINE = THREADS * 2 * SEGMENT_SIZE
"""Bytes of buffers that one file needs in the pipeline."""
_REPORT_EVERY = 0.1  # seconds

_Result = TypeVar("_Result")


class StoppedError(Exception):
    """Stops a file after another one failed, or after an interrupt. It does not leave this module."""


@dataclass(frozen=True, slots=True)
class Task(Generic[_Result]):
    """The work on one file of `size` bytes. `work` reports the bytes done; the total that it reports is ignored."""

    size: int
    work: Callable[[ProgressReport], _Result]
    buffers: int = PIPELINE

    @property
    def memory(self) -> int:
        """Return the bytes of memory it needs while it runs: buffers, and the leaves twice (collected and encoded)."""
        return self.buffers + 2 * LEAF_LENGTH * (self.size // SEGMENT_SIZE)


def default_jobs() -> int:
    """Return how many files to process at once: one for each usable processor, at most four."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, processors)


def allowed_jobs(jobs: int) -> int:
    """Return `jobs`. Raises UsageError when it is out of range."""
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"1 to {MAX_JOBS} files at once, not {jobs}")
    return jobs


def side_by_side(tasks: Sequence[Task[_Result]], *, jobs: int | None, progress: ProgressReport | None) -> list[_Result]:
    """Run all tasks, at most `jobs` at once (default: `default_jobs()`); return their results in order.

    A failure stops the other tasks. After all of them have stopped, the first error in task order is raised. `progress`
    gets the total over all tasks, on the caller's thread. Raises UsageError when `jobs` is out of range.
    """
    jobs = default_jobs() if jobs is None else allowed_jobs(jobs)
    return _Crew(tasks, min(jobs, len(tasks)), progress).run()


class _Crew(Generic[_Result]):
    """Worker threads; each takes the next task as soon as it fits into the memory limit."""

    def __init__(self, tasks: Sequence[Task[_Result]], jobs: int, progress: ProgressReport | None) -> None:
        self._tasks = tasks
        self._progress = progress
        self._total = sum(task.size for task in tasks)
        self._changed = threading.Condition()
        self._stop = False
        self._next = 0
        self._memory = 0
        self._blocked = 0
        self._ended = 0
        self._done = [0] * len(tasks)
        self._results: dict[int, _Result] = {}
        self._errors: dict[int, BaseException] = {}
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(jobs)]

    def run(self) -> list[_Result]:
        try:
            for thread in self._threads:
                thread.start()
            self._wait()
        except BaseException:
            self._stop = True
            self._join()
            raise
        self._join()
        if self._errors:
            raise self._errors[min(self._errors)]
        self._report()
        return [self._results[number] for number in range(len(self._tasks))]

    def _wait(self) -> None:
        """Wait until every thread has ended, and report now and then. Waking up for each file would double its cost."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._ended == len(self._threads), _REPORT_EVERY):
                    return
            if not self._stop:
                self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(sum(self._done), self._total)

    def _join(self) -> None:
        """Wait for all threads: their partial output must be removed before its folder is."""
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        while (number := self._take()) is not None:
            task = self._tasks[number]
            try:
                self._results[number] = task.work(self._reporter(number))
                self._done[number] = task.size
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
                self._errors[number] = error
                self._stop = True
            with self._changed:
                self._memory -= task.memory
                if self._blocked:
                    self._changed.notify_all()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def _take(self) -> int | None:
        """Return the next task's number once there is memory for it; None when no task is left or all must stop."""
        with self._changed:
            while not self._stop and self._next < len(self._tasks):
                needed = self._tasks[self._next].memory
                if self._memory == 0 or self._memory + needed <= _MEMORY:
                    self._memory += needed
                    self._next += 1
                    return self._next - 1
                self._blocked += 1
                self._changed.wait()
                self._blocked -= 1
            return None

    def _reporter(self, number: int) -> ProgressReport:
        def report(done: int, _: int | None) -> None:
            if self._stop:
                raise StoppedError
            self._done[number] = min(self._tasks[number].size, max(self._done[number], done))

        return report
