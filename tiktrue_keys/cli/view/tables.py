"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_STYLES = {
    "active": "green",
    "ok": "green",
    "pending": "cyan",
    "rotating": "yellow",
    "deprecated": "yellow",
    "warning": "yellow",
    "expired": "red",
    "revoked": "red bold",
    "failed": "red bold",
    "destroyed": "dim",
}


def console(color: bool) -> Console:
    """Return standard output as a Rich console; markup, emoji codes and highlighting are off."""
    return Console(no_color=not color or None, highlight=False, markup=False, emoji=False, soft_wrap=False)


def cell_text(text: str) -> Text:
    """Return a cell; states have a colour, which only repeats the word."""
    return Text(text, style=_STYLES.get(text, ""), overflow="fold")


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, color: bool, heading: bool = True) -> None:
    """Draw rows under headings."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=heading)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(cell) for cell in row))
    console(color).print(table)
