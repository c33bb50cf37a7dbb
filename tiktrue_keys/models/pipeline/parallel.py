"""Does the files of a folder several at once: within a bound of memory, with one progress, the first error told.

Files are begun in their order. The caller's thread only waits and reports, so that a KeyboardInterrupt arrives there.
Whoever is stopped notices at its next report of progress, ten times a second, and cleans up on its way out.

Does not handle: undoing what was finished.
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
"""Bytes of buffers of all files together; the program without them takes 40 MiB."""
PIPELINE = THREADS * 2 * SEGMENT_SIZE
"""Bytes of buffers of one file in the pipeline."""
_REPORT_EVERY = 0.1  # seconds

_Result = TypeVar("_Result")


class StoppedError(Exception):
    """This file is given up because of another one, or of an interrupt; nobody outside this module sees it."""


@dataclass(frozen=True)
class Task(Generic[_Result]):
    """What is to be done to one file of `size` bytes; `work` reports the bytes done of it, whatever total it names."""

    size: int
    work: Callable[[ProgressReport], _Result]
    buffers: int = PIPELINE

    @property
    def memory(self) -> int:
        """Bytes that it takes while it is under way: buffers, and its leaves (as a list, and as they are written)."""
        return self.buffers + 2 * LEAF_LENGTH * (self.size // SEGMENT_SIZE)


def default_jobs() -> int:
    """How many files at once: one for each processor, at most four."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, processors)


def side_by_side(tasks: Sequence[Task[_Result]], *, jobs: int | None, progress: ProgressReport | None) -> list[_Result]:
    """The results of all tasks, in their order; `jobs` at once at most, None: `default_jobs()`.

    The first failure stops the others; of several, the first one in the order of the tasks is raised, once nothing
    runs any more. `progress` gets the bytes of all together, on the caller's thread. UsageError for jobs out of range.
    """
    jobs = default_jobs() if jobs is None else jobs
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"1 to {MAX_JOBS} files at once, not {jobs}")
    return _Crew(tasks, min(jobs, len(tasks)), progress).run()


class _Crew(Generic[_Result]):
    """Some threads, each of which takes the next task that there is memory for."""

    def __init__(self, tasks: Sequence[Task[_Result]], jobs: int, progress: ProgressReport | None) -> None:
        self._tasks = tasks
        self._progress = progress
        self._total = sum(task.size for task in tasks)
        self._changed = threading.Condition()
        self._stop = False
        self._next = 0
        self._memory = 0
        self._news = False
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
        """Until every thread is at its end; wakes up for each finished file, so that progress shows small ones too."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news, _REPORT_EVERY)
                self._news = False
                if self._ended == len(self._threads):
                    return
            if not self._stop:
                self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(sum(self._done), self._total)

    def _join(self) -> None:
        """What was being written must be gone before its folder goes."""
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
                self._tell()
        with self._changed:
            self._ended += 1
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _take(self) -> int | None:
        """The next task's number, as soon as there is memory for it; None when there is nothing left to do."""
        with self._changed:
            while not self._stop and self._next < len(self._tasks):
                needed = self._tasks[self._next].memory
                if self._memory == 0 or self._memory + needed <= _MEMORY:
                    self._memory += needed
                    self._next += 1
                    return self._next - 1
                self._changed.wait()
            return None

    def _reporter(self, number: int) -> ProgressReport:
        def report(done: int, _: int | None) -> None:
            if self._stop:
                raise StoppedError
            self._done[number] = min(self._tasks[number].size, max(self._done[number], done))

        return report
