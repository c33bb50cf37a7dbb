"""Progress reports: what a caller is told while a body is sealed, opened or hashed."""

from __future__ import annotations

from collections.abc import Callable

ProgressReport = Callable[[int, int | None], None]
"""Called with the bytes done so far and the bytes there are in all, None when nobody knows (a pipe)."""


def byte_report(progress: ProgressReport | None, total: int | None) -> Callable[[int], None] | None:
    """What the pipeline calls with the bytes done so far."""
    if progress is None:
        return None
    report = progress
    return lambda done: report(done, total)


def within(progress: ProgressReport | None, before: int, total: int) -> ProgressReport | None:
    """What the act on one file reports to: a part of a whole of `total` bytes, of which `before` are done."""
    if progress is None:
        return None
    report = progress
    return lambda done, _: report(before + done, total)
