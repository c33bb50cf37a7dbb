"""Tables on a terminal: as many columns as fit, each row on one line, prose wrapped at words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tiktrue_keys.cli.view.outcome import Table

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
_GAP = 3
"""The blanks between two columns of box.SIMPLE_HEAD."""

_LEAST_PROSE = 24


@dataclass(frozen=True)
class Layout:
    """The columns to draw, as indices, with the width of each. A total beyond the terminal's is wrapped by it."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def total(self) -> int:
        """The width of a row."""
        return sum(self.widths) + _GAP * (len(self.widths) - 1)


def console(color: bool, width: int | None = None) -> Console:
    """Return standard output as a Rich console; markup, emoji codes and highlighting are off."""
    return Console(no_color=not color or None, highlight=False, markup=False, emoji=False, soft_wrap=False, width=width)


def cell_text(text: str) -> Text:
    """Return a cell; states have a colour, which only repeats the word."""
    return Text(text, style=_STYLES.get(text, ""), overflow="fold")


def lay_out(table: Table, rows: Sequence[Sequence[str]], width: int, *, everything: bool = False) -> Layout:
    """Return which columns fit into `width` cells, and how wide each is. With `everything` none is left out.

    A spare column stays only where all of its text fits; other prose may be wrapped to a width that can be read.
    """
    heads = table.columns if table.heading else ("",) * len(table.columns)
    natural = [max(map(cell_len, (head, *cells))) for head, *cells in zip(heads, *rows, strict=True)]
    prose = {index for index, name in enumerate(table.columns) if name in table.prose}
    needed = [
        min(wide, _LEAST_PROSE) if index in prose and table.columns[index] not in table.spare else wide
        for index, wide in enumerate(natural)
    ]
    shown = list(range(len(table.columns)))
    for name in () if everything else table.spare:
        if sum(needed[index] for index in shown) + _GAP * (len(shown) - 1) <= width:
            break
        shown.remove(table.columns.index(name))
    left = width - _GAP * (len(shown) - 1) - sum(natural[index] for index in shown if index not in prose)
    widths = dict(enumerate(natural))
    wrapped = sorted(prose & set(shown), key=lambda index: natural[index])
    for taken, index in enumerate(wrapped):
        share = max(left // (len(wrapped) - taken), _LEAST_PROSE)
        widths[index] = min(natural[index], share)
        left -= widths[index]
    return Layout(tuple(shown), tuple(widths[index] for index in shown))


def draw_table(table: Table, rows: Sequence[Sequence[str]], *, color: bool, everything: bool = False) -> None:
    """Draw rows under the table's headings."""
    width = console(color).width
    layout = lay_out(table, rows, width, everything=everything)
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=table.heading)
    for index, wide in zip(layout.columns, layout.widths, strict=True):
        drawn.add_column(Text(table.columns[index]), width=wide, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell_text(row[index]) for index in layout.columns))
    console(color, max(width, layout.total)).print(drawn)
