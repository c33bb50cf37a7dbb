"""Which columns of a table fit on a terminal, and how wide they are."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from tests.program import Program
from tests.terminal import Terminal
from tiktrue_keys.cli.view.outcome import Table
from tiktrue_keys.cli.view.tables import lay_out

_ATTRIBUTES = re.compile(r"\x1b\[[0-9;]*m")
KEY_ID = "llama-70b_0123456789abcdef"
ROWS = [(KEY_ID, "active", "12", "in 29 d", "words " * 20)]


def table(**changes: tuple[str, ...]) -> Table:
    return Table(("key", "status", "generation", "expires", "note"), ROWS, **changes)  # type: ignore[arg-type]


def names(found: tuple[int, ...]) -> list[str]:
    return [("key", "status", "generation", "expires", "note")[index] for index in found]


def test_with_room_each_column_has_its_natural_width() -> None:
    layout = lay_out(table(), ROWS, 1_000)
    assert layout.widths == (len(KEY_ID), len("active"), len("generation"), len("in 29 d"), 120)


def test_spare_columns_go_in_their_order_until_a_row_fits() -> None:
    spare = table(spare=("note", "generation", "status"))
    row = len(KEY_ID) + 3 + len("active") + 3 + len("generation") + 3 + len("in 29 d")
    assert names(lay_out(spare, ROWS, row).columns) == ["key", "status", "generation", "expires"]
    assert names(lay_out(spare, ROWS, row - 1).columns) == ["key", "status", "expires"]
    assert names(lay_out(spare, ROWS, 44).columns) == ["key", "expires"]


def test_what_is_not_spare_is_shown_whole_even_if_it_does_not_fit() -> None:
    layout = lay_out(table(spare=("note", "generation", "status", "expires")), ROWS, 10)
    assert (names(layout.columns), layout.widths) == (["key"], (len(KEY_ID),))


def test_prose_takes_what_is_left() -> None:
    layout = lay_out(table(prose=("note",)), ROWS, 100)
    assert layout.total == 100
    assert layout.widths[:4] == (len(KEY_ID), len("active"), len("generation"), len("in 29 d"))


def test_spare_prose_is_left_out_rather_than_wrapped() -> None:
    assert names(lay_out(table(prose=("note",), spare=("note",)), ROWS, 100).columns)[-1] == "expires"


def test_prose_keeps_a_width_that_can_be_read() -> None:
    assert lay_out(table(prose=("note",)), ROWS, 40).widths[-1] == 24


def test_two_columns_of_prose_share_and_the_short_one_leaves_the_rest_to_the_other() -> None:
    rows = [("k", "ten chars.", "long " * 40)]
    shared = Table(("id", "short", "long"), rows, prose=("short", "long"))
    assert lay_out(shared, rows, 100).widths == (2, 10, 82)


def test_everything_is_shown_on_request() -> None:
    assert len(lay_out(table(spare=("note",)), ROWS, 10, everything=True).columns) == 5


def test_wide_characters_count_twice() -> None:
    rows = [("鍵" * 5,)]
    assert lay_out(Table(("key",), rows), rows, 80).widths == (cell_len("鍵") * 5,)


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (80, ["key", "status", "expires", "containers"]),
        (140, ["key", "status", "generation", "binding", "expires", "decrypts until", "containers", "labels"]),
    ],
)
def test_a_key_is_one_line_on_a_terminal(program: Program, width: int, headings: list[str]) -> None:
    key_id = program.generate("org_llama-3-70b-instruct").key_id
    terminal = Terminal(program, "list", env={"COLUMNS": str(width), "NO_COLOR": "1"})
    assert terminal.end() == 0
    heading, _, row = [line for line in _ATTRIBUTES.sub("", terminal.said).splitlines() if line.strip()]
    assert [each.strip() for each in heading.split("  ") if each.strip()] == headings
    assert row.startswith(f"{key_id} ")
    assert "in 29 d" in row or "in 30 d" in row
    assert max(len(heading.rstrip()), len(row.rstrip())) <= width


def test_with_verbose_a_terminal_gets_all_columns_and_whole_times(program: Program) -> None:
    key_id = program.generate("m").key_id
    terminal = Terminal(program, "list", "-v", env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert terminal.end() == 0
    assert key_id in terminal.said
    assert "decrypts until" in terminal.said
    assert program.json("list")["result"]["keys"][0]["expires_at"] in terminal.said
