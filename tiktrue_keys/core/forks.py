"""Makes fork(2) safe for opened keystores: the parent finishes its transactions first, the child drops its copies.

Register an object here when it holds secrets or a connection that a forked child must not use.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object with secrets and a connection that a forked child must not use."""

    @property
    def guards(self) -> tuple[threading.RLock, ...]:
        """The locks that are held, in this order, by everything that uses the object."""

    def forget(self) -> None:
        """Drop what belongs to the parent. Called in the child."""


_kept: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[threading.RLock] = []


def keep_over_forks(forkable: Forkable) -> None:
    """Hold `forkable.guards` during every fork from now on, and call `forkable.forget()` in each child."""
    _kept.add(forkable)


def _before_fork() -> None:
    """Wait until no object is inside a transaction: a child that closed its copy would roll back the parent's."""
    for forkable in sorted(_kept, key=id):
        for guard in forkable.guards:
            guard.acquire()
            _held.append(guard)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    for forkable in _kept:
        forkable.forget()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
