"""One spelling for every value, and nothing else accepted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiktrue_keys.core.canonical import MAX_INTEGER, canonical_json, joined, parse_canonical
from tiktrue_keys.errors import IntegrityError, InternalError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.dictionaries(
    TEXT, st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
)


@settings(max_examples=40)
@given(VALUES)
def test_what_is_written_is_read_and_written_the_same(value: dict[str, Any]) -> None:
    encoded = canonical_json(value)
    again = parse_canonical(encoded, limit=len(encoded), what="a test")
    assert again == value
    assert canonical_json(again) == encoded


def test_the_spelling() -> None:
    assert (
        canonical_json({"b": [1, True, None], "a": "\u00fc\n", "A": {}})
        == '{"A":{},"a":"ü\\n","b":[1,true,null]}'.encode()
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b'"a"',
        b"null",
        b"{} ",
        b' {"a":1}',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":2}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":9007199254740992}',
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":"\\u00fc"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":1',
    ],
)
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_canonical(data, limit=1_000_000, what="a test")


def test_the_limit_holds_before_anything_is_parsed() -> None:
    assert parse_canonical(b'{"a":1}', limit=7, what="a test") == {"a": 1}
    with pytest.raises(IntegrityError, match="a test is longer than 6 bytes"):
        parse_canonical(b'{"a":1}', limit=6, what="a test")


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": [86_400.0]}, {"a": MAX_INTEGER + 1}, {"a": float("nan")}])
def test_what_could_not_be_read_again_is_not_written(value: dict[str, Any]) -> None:
    with pytest.raises((InternalError, ValueError)):
        canonical_json(value)


@given(st.lists(st.binary(max_size=5)), st.lists(st.binary(max_size=5)))
def test_two_lists_of_parts_never_join_to_the_same_bytes(some: list[bytes], others: list[bytes]) -> None:
    assert (joined(*some) == joined(*others)) == (some == others)


def test_each_part_stands_after_its_length() -> None:
    assert joined(b"ab", b"") == b"\0\0\0\x02ab\0\0\0\0"
