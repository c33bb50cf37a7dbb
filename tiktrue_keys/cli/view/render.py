"""Draws blocks: Rich tables and trees on a terminal, plain aligned text elsewhere.

Every string is escaped first, so a label or file name cannot move the cursor or count as markup.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.line_breaks import terminal_width, wrapped
from tiktrue_keys.cli.view.outcome import Block, Cell, Fields, Line, Raw, Table, Tree
from tiktrue_keys.cli.view.streams import is_terminal, write_out, write_pieces
from tiktrue_keys.cli.view.when import relative
from tiktrue_keys.core.csv_line import csv_line
from tiktrue_keys.core.instants import rfc3339

_MAX_DRAWN_ROWS = 2_000  # Rich measures every cell: 100,000 rows would take minutes
_BETWEEN = "\0"  # an escaped cell has none


def render(blocks: Sequence[Block], *, color: bool, verbose: bool = False) -> None:
    """Write `blocks` to standard output. With `verbose` a terminal gets all columns, and times as RFC 3339."""
    drawn = is_terminal(sys.stdout)
    for block in blocks:
        if isinstance(block, Raw):
            write_out(block.text)
        elif isinstance(block, Table) and block.csv:
            write_pieces(_csv(block), write_out)
        elif isinstance(block, Table):
            _render_table(block, drawn=drawn, color=color, verbose=verbose)
        elif isinstance(block, Tree) and drawn:
            from tiktrue_keys.cli.view.trees import draw_tree

            draw_tree(block, color=color)
        else:
            lines = plain_lines(block)
            write_out("".join(f"{line}\n" for line in (_wrapped(block, lines) if drawn else lines)))


def _wrapped(block: Block, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of prose for a terminal: a value's lines stand under each other."""
    width = terminal_width()
    hanging = max((len(name) + 3 for name, _ in block.rows), default=0) if isinstance(block, Fields) else 0
    return (wrapped(line, width, hanging=hanging) for line in lines)


def _render_table(table: Table, *, drawn: bool, color: bool, verbose: bool) -> None:
    rows = _Rows(table, now=int(time.time()) if drawn and not verbose else None)
    if drawn and len(rows) <= _MAX_DRAWN_ROWS:
        from tiktrue_keys.cli.view.tables import draw_table

        draw_table(table, list(rows), color=color, everything=verbose)
    else:
        write_pieces(_plain_table(rows), write_out)


def _csv(table: Table) -> Iterator[str]:
    """Yield RFC 4180 with a header line; an empty cell is empty."""
    yield csv_line(table.columns)
    for row in table.rows:
        yield csv_line([_words(cell, None) for cell in row])


def _words(cell: Cell, now: int | None) -> str:
    """Return the text of a cell: an instant relative to `now`, or without it as RFC 3339."""
    if isinstance(cell, str):
        return cell
    if not cell.instant:
        return ""
    return (rfc3339(cell.instant) or "") if now is None else relative(cell.instant, now)


class _Rows:
    """The escaped rows of a table, each kept as one string, because the widths are known only after the last row."""

    def __init__(self, table: Table, now: int | None) -> None:
        self.heading = [column.upper() for column in table.columns] if table.heading else None
        self.widths = [len(cell) for cell in self.heading or [""] * len(table.columns)]
        self._rows: list[str] = []
        for row in table.rows:
            cells = [escaped(_words(cell, now)) or "-" for cell in row]
            self.widths = list(map(max, self.widths, map(len, cells)))
            self._rows.append(_BETWEEN.join(cells))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Sequence[str]]:
        return (row.split(_BETWEEN) for row in self._rows)


def plain_lines(block: Line | Fields | Tree) -> Iterable[str]:
    """Return the lines of a block for a pipe."""
    if isinstance(block, Line):
        return [escaped(block.text)]
    if isinstance(block, Fields):
        width = max((len(name) for name, _ in block.rows), default=0)
        return [f"{name + ':':<{width + 1}}  {escaped(value) or '-'}" for name, value in block.rows]
    return _tree_lines(block, 0)


def _plain_table(rows: _Rows) -> Iterator[str]:
    """Yield lines of aligned columns, two spaces apart, with headings in capitals; the last column is not padded."""
    line = "  ".join(f"{{:<{width}}}" for width in [*rows.widths[:-1], 0]) + "\n"
    if rows.heading is not None:
        yield line.format(*rows.heading)
    for cells in rows:
        yield line.format(*cells)


def _tree_lines(tree: Tree, depth: int) -> Iterable[str]:
    yield "  " * depth + escaped(tree.label)
    for branch in tree.branches:
        yield from _tree_lines(branch, depth + 1)
