"""Each kind of member: the one spelling that is read, and what is refused, under the name of what was read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from tiktrue_keys.core.canonical import MAX_INTEGER, canonical_json
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.errors import Advice, IntegrityError


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


READERS: dict[str, tuple[Callable[[Members], Any], list[tuple[Any, Any]], list[Any]]] = {
    "text": (lambda m: m.text("a", 5), [("", ""), ("modél", "modél")], ["longer", "a\nb", "\u202e", 5, None, ["a"]]),
    "any text": (lambda m: m.any_text("a", 5), [("a\n\x00", "a\n\x00")], ["longer", 5, None, {}]),
    "choice": (lambda m: m.choice("a", Colour), [("red", Colour.RED)], ["Red", "", "green", 1, None, ["red"]]),
    "whole": (lambda m: m.whole("a"), [(0, 0), (MAX_INTEGER, MAX_INTEGER)], [-1, True, "1", None, []]),
    "whole within": (lambda m: m.whole("a", 2, 4), [(2, 2), (4, 4)], [1, 5]),
    "whole or none": (lambda m: m.whole_or_none("a"), [(None, None), (0, 0)], [-1, False, ""]),
    "decimal": (
        lambda m: m.decimal("a"),
        [("0", 0), ("-1", -1), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))],
        ["", "-", "-0", "01", "+1", " 1", "1_0", "1.0", "\u0661", "9" * 21, 1, None],
    ),
    "flag": (lambda m: m.flag("a"), [(True, True), (False, False)], [0, 1, "true", None]),
    "instant": (
        lambda m: m.instant("a"),
        [("1970-01-01T00:00:00Z", 0), ("2026-11-25T12:00:00Z", 1_795_608_000)],
        [
            "2026-11-25",
            "2026-11-25T12:00:00+00:00",
            "2026-11-25T12:00:00.0Z",
            "2026-11-25t12:00:00z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "now",
            0,
        ],
    ),
    "hexadecimal": (
        lambda m: m.hexadecimal("a", 2),
        [("00ff", b"\x00\xff")],
        ["00f", "00ff00", "00FF", "0 f0", "zzzz", "\u0661\u0661\u0661\u0661", "", 5, None],
    ),
    "octets": (
        lambda m: m.octets("a", 2),
        [("AP8=", b"\x00\xff")],
        ["AP8", "AP9=", "AP8=\n", "AP/=", "AA==", "AAAA", "A" * 4000, "-_8=", "é", 5, None],
    ),
    "octets up to a limit": (
        lambda m: m.octets("a", limit=2),
        [("", b""), ("AA==", b"\x00"), ("AP8=", b"\x00\xff")],
        ["AAAA", "A" * 4000],
    ),
    "hashes": (
        lambda m: m.hashes("a", 1),
        [([], []), ([encoded(bytes(32))], [bytes(32)])],
        [[encoded(bytes(31))], [encoded(bytes(32))] * 2, [5], "", {}, None],
    ),
    "objects": (
        lambda m: [each.whole("b") for each in m.objects("a", 2)],
        [([], []), ([{"b": 1}, {"b": 2}], [1, 2])],
        [[{"b": 1}] * 3, [{"b": 1}, 5], [{}], {}, None],
    ),
    "an object inside": (lambda m: m.inner("a").whole("b"), [({"b": 1}, 1)], [{}, {"b": ""}, [], "b", None]),
    "an object as it is": (lambda m: m.raw("a"), [({"x": [1]}, {"x": [1]})], [[], "x", None]),
}


@pytest.mark.parametrize("name", READERS)
def test_what_each_kind_of_member_reads_and_refuses(name: str) -> None:
    read, good, bad = READERS[name]
    for value, expected in good:
        members = Members({"a": value}, "the card")
        found = read(members)
        assert (found, type(found)) == (expected, type(expected))
        members.done()
    for value in bad:
        with pytest.raises(IntegrityError, match=r"^the card"):
            read(Members({"a": value}, "the card"))
    with pytest.raises(IntegrityError, match=r"^the card has no a$"):
        read(Members({"b": good[0][0]}, "the card"))


def test_a_member_that_was_not_read_does_not_belong_there() -> None:
    members = Members({"a": 1, "b": {"c": 1, "d": 1}}, "the card")
    assert (members.has("b"), members.has("z")) == (True, False)
    members.whole("a")
    with pytest.raises(IntegrityError, match="the card has members that do not belong there"):
        members.done()
    inner = members.inner("b")
    members.done()
    inner.whole("c")
    with pytest.raises(IntegrityError, match="the card's b has members that do not belong there"):
        inner.done()


def test_the_kind_and_the_version_of_a_file() -> None:
    members = Members({"type": "card/1", "version": 1}, "the card")
    members.form("card/1")
    members.version(1)
    members.done()
    for other in ("file/1", "card/one", "card"):
        with pytest.raises(IntegrityError, match="the card is of another type"):
            Members({"type": other}, "the card").form("card/1")
    for expected, side in (("card/2", "where it comes from"), ("card/0", "here")):
        with pytest.raises(IntegrityError, match=f"the card has version 1, .* upgrade tiktrue-keys {side}$"):
            members.form(expected)
    with pytest.raises(IntegrityError, match="the card has version 1") as refused:
        members.version(2)
    assert refused.value.hint == "this program reads version 2"
    with pytest.raises(IntegrityError, match="malformed version"):
        Members({"version": True}, "the card").version(1)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": 1}', b'{"a":1.0}', b'{"a":1,"a":1}', b'{"a":"' + b"a" * 99])
def test_bytes_that_are_not_canonical_json_of_an_object(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"^the card") as refused:
        Members.parse(data, limit=50, what="the card", advice={"hint": "ask for another", "remedy": "", "about": {}})
    assert refused.value.hint == "ask for another"


ASK: Advice = {"hint": "ask", "remedy": "", "about": {}}


def test_each_error_has_the_hint() -> None:
    members = Members.parse(canonical_json({"a": {}, "b": [{}], "c": 1}), limit=50, what="the card", advice=ASK)
    (listed,) = members.objects("b", 1)
    refusals: tuple[Callable[[], object], ...] = (
        members.done,
        lambda: members.whole("a"),
        lambda: members.whole("z"),
        lambda: members.inner("a").whole("z"),
        lambda: listed.whole("z"),
        lambda: Members({"type": "x"}, "the card", ASK).form("y"),
    )
    for refuse in refusals:
        with pytest.raises(IntegrityError) as refused:
            refuse()
        assert refused.value.hint == "ask"


def test_what_a_signature_is_over() -> None:
    assert Members({"a": 1, "signature": "x"}, "the card").without("signature") == {"a": 1}


def test_base64_has_one_spelling() -> None:
    assert encoded(bytes(60)) == b64encode(bytes(60)).decode()
