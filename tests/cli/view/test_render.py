"""Plain rendering: stable, aligned, escaped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import Fields, Line, Raw, Table, Tree
from tiktrue_keys.cli.view.render import render


def test_a_table_is_aligned_with_a_dash_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    render([Table(("key", "status"), [("a", "active"), ("longer", ""), ("b\nc", "x")])], color=False)

    assert capsys.readouterr().out == "KEY     STATUS\na       active\nlonger  -\nb\\nc    x\n"


def test_fields_lines_trees_and_raw_text(capsys: pytest.CaptureFixture[str]) -> None:
    tree = Tree("root", (Tree("one", (Tree("two"),)), Tree("three")))
    render([Fields([("a", "1"), ("long name", "")]), Line("x\ty"), tree, Raw("as\tis\n")], color=False)

    assert capsys.readouterr().out == ("a:          1\nlong name:  -\nx\\ty\nroot\n  one\n    two\n  three\nas\tis\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 日 😀", "plain é 日 😀"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2028", "\\u2028"),
        ("\U000e0001", "\\U000e0001"),
        ("bad\udcffbyte", "bad\\xffbyte"),
        ("\r\n\t", "\\r\\n\\t"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


@given(st.text())
def test_nothing_unprintable_is_ever_shown(text: str) -> None:
    assert escaped(text).isprintable()
