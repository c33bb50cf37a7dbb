"""Draws blocks: Rich tables and trees on a terminal, plain aligned text elsewhere.

Every string is escaped first, so a label or file name cannot move the cursor or count as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import Block, Fields, Line, Raw, Table, Tree
from tiktrue_keys.cli.view.streams import is_terminal, write_out

_MAX_DRAWN_ROWS = 2_000  # Rich measures every cell: 100,000 rows would take minutes


def render(blocks: Sequence[Block], *, color: bool) -> None:
    """Write `blocks` to standard output."""
    drawn = is_terminal(sys.stdout)
    for block in blocks:
        if isinstance(block, Raw):
            write_out(block.text)
        elif isinstance(block, Table):
            rows = [tuple(escaped(cell) or "-" for cell in row) for row in block.rows]
            if drawn and len(rows) <= _MAX_DRAWN_ROWS:
                from tiktrue_keys.cli.view.tables import draw_table

                draw_table(block.columns, rows, color=color, heading=block.heading)
            else:
                write_out(plain_table(block.columns, rows, heading=block.heading))
        elif isinstance(block, Tree) and drawn:
            from tiktrue_keys.cli.view.trees import draw_tree

            draw_tree(block, color=color)
        else:
            write_out("".join(f"{line}\n" for line in plain_lines(block)))


def plain_lines(block: Line | Fields | Tree) -> Iterable[str]:
    """Return the lines of a block for a pipe."""
    if isinstance(block, Line):
        return [escaped(block.text)]
    if isinstance(block, Fields):
        width = max((len(name) for name, _ in block.rows), default=0)
        return [f"{name + ':':<{width + 1}}  {escaped(value) or '-'}" for name, value in block.rows]
    return _tree_lines(block, 0)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, heading: bool = True) -> str:
    """Return aligned columns, two spaces apart, with headings in capitals; the last column is not padded."""
    lines = [tuple(column.upper() for column in columns), *rows] if heading else rows
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    widths[-1] = 0
    return "".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) + "\n" for line in lines
    )


def _tree_lines(tree: Tree, depth: int) -> Iterable[str]:
    yield "  " * depth + escaped(tree.label)
    for branch in tree.branches:
        yield from _tree_lines(branch, depth + 1)
