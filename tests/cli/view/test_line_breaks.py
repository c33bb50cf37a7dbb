"""Prose breaks between words, and a command to type does not break at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.cli.view.line_breaks import wrapped


def test_a_line_breaks_between_words_with_its_indentation() -> None:
    assert wrapped("one two three four", 9) == "one two\nthree\nfour"
    assert wrapped("  one two three", 9) == "  one two\n  three"
    assert wrapped("a:  one two three", 12, hanging=4) == "a:  one two\n    three"
    assert wrapped("short", 9) == "short"


def test_a_word_or_a_command_that_is_too_long_is_not_cut() -> None:
    assert wrapped("key llama_0123456789abcdef ends", 12) == "key\nllama_0123456789abcdef\nends"
    hint = "  run tiktrue-keys rotate llama-7b; then tiktrue-keys rewrap-model /a/b, or wait"
    assert wrapped(hint, 40).splitlines() == [
        "  run tiktrue-keys rotate llama-7b; then",
        "  tiktrue-keys rewrap-model /a/b, or",
        "  wait",
    ]
    assert wrapped("hint: run tiktrue-keys rotate llama-7b", 20).splitlines() == [
        "hint: run",
        "tiktrue-keys rotate llama-7b",
    ]


@given(st.text(alphabet="ab -;,.", max_size=200), st.integers(40, 80))
def test_no_word_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width).splitlines()
    assert "".join(lines).split() == text.split() if len(lines) < 2 else " ".join(lines).split() == text.split()
    assert all(len(line) <= width for line in lines if " " in line.strip())
