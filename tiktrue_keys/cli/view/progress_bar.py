"""Progress bars on standard error: bytes, rate, time left. Only on a terminal, never with -q or --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.streams import is_terminal

Report = Callable[[int, int | None], None]
"""Takes the bytes done so far and the bytes there are in all (None: unknown)."""


def wants_progress(context: CommandContext) -> bool:
    """Return whether a progress bar can be drawn and is wanted."""
    return is_terminal(sys.stderr) and not context.options.quiet and not context.options.json


@contextmanager
def progress_bar(context: CommandContext, label: str) -> Iterator[Report | None]:
    """Yield the function that reports progress, or None when none is wanted."""
    if not wants_progress(context):
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

    console = Console(stderr=True, no_color=not context.color or None, highlight=False, markup=False, emoji=False)
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escaped(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
