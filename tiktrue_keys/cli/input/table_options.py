"""The options of commands that show one table: which columns, and in which form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.view.outcome import Cell, OnDemand, Table
from tiktrue_keys.errors import UsageError

Format = Literal["table", "csv"]

ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="Column to show, by its heading, with - for a blank (repeatable; default: all; on a terminal, as many as"
        " fit).",
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", metavar="FORMAT", help="Form of the output: table or csv (default: table).")
]


def chosen_columns(table: Table, columns: Sequence[str] | None, form: Format = "table") -> Table:
    """Return the table with these columns in this order, all of it shown. Raises UsageError for an unknown column."""
    table = replace(table, csv=form == "csv")
    if not columns:
        return table
    names = [column.replace(" ", "-") for column in table.columns]
    for column in columns:
        if column not in names:
            raise UsageError(f"there is not a column '{column[:40]}'", f"use one of {', '.join(names)}")
    indices = [names.index(column) for column in columns]
    rows = table.rows
    return replace(
        table,
        columns=tuple(table.columns[index] for index in indices),
        rows=OnDemand(lambda: _selected(rows, indices)),
        spare=(),
    )


def _selected(rows: Iterable[tuple[Cell, ...]], indices: Sequence[int]) -> Iterable[tuple[Cell, ...]]:
    return (tuple(row[index] for index in indices) for row in rows)
