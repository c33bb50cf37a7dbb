"""Progress bars on standard error: bytes of a total, rate, time left. Only on a terminal, never with -q or --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiktrue_keys.cli.session import Session
from tiktrue_keys.cli.shown import shown
from tiktrue_keys.cli.streams import is_terminal

Report = Callable[[int, int | None], None]
"""Takes the bytes done so far and the bytes there are in all (None: nobody knows)."""


def wants_progress(session: Session) -> bool:
    """Whether somebody watches."""
    return is_terminal(sys.stderr) and not session.options.quiet and not session.options.json


@contextmanager
def progress_bar(session: Session, label: str) -> Iterator[Report | None]:
    """Yield what to report to, or None when nobody watches."""
    if not wants_progress(session):
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True, no_color=not session.color or None, highlight=False, markup=False, emoji=False)
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(shown(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
