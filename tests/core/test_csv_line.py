"""Lines of CSV that a spreadsheet may open."""

from __future__ import annotations

import pytest

from tiktrue_keys.core.csv_line import csv_line


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1"])
def test_a_formula_becomes_text(cell: str) -> None:
    assert csv_line([cell, "x"]).startswith(f"'{cell}")


def test_quotes_commas_and_line_ends_are_quoted() -> None:
    assert csv_line(['qu"ote', "a,b", "two\nlines", ""]) == '"qu""ote","a,b","two\nlines",\r\n'
