"""Progress callbacks, called while a body is sealed, opened or hashed."""

from __future__ import annotations

from collections.abc import Callable

ProgressReport = Callable[[int, int | None], None]
"""Called with the bytes done so far and the total in bytes; the total is None when it is unknown (a pipe)."""


def byte_report(progress: ProgressReport | None, total: int | None) -> Callable[[int], None] | None:
    """Return a callback for the pipeline, which takes only the bytes done so far; None without `progress`."""
    if progress is None:
        return None
    report = progress
    return lambda done: report(done, total)


def within(progress: ProgressReport | None, before: int, total: int) -> ProgressReport | None:
    """Return a callback for one file of an operation on `total` bytes, of which `before` are done already."""
    if progress is None:
        return None
    report = progress
    return lambda done, _: report(before + done, total)
