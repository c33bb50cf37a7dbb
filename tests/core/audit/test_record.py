from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.audit.records import ACTOR, KEY_ID, NOON, record
from tiktrue_keys.core.audit.record import RECORD_LIMIT, TEXT_LIMIT, Actor, AuditRecord, login_uid
from tiktrue_keys.core.canonical import MAX_INTEGER, canonical_json
from tiktrue_keys.errors import IntegrityError, InternalError

STRANGE = ["a", "é", "🙂", "\0", "\n", "\x1b", "\x7f", "\x9b", "\u202e", chr(0xD800), chr(0xDCFF), '"', "\\"]
# Joined from a list, because st.text hardly ever draws the few signs that matter here.
ANY_TEXT = st.builds(
    lambda signs, times: "".join(signs) * times,
    st.lists(st.sampled_from(STRANGE) | st.characters(), max_size=20),
    st.sampled_from([1, 1, 20, 60]),
)
DETAIL = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True),
    st.recursive(
        st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | ANY_TEXT,
        lambda inner: st.lists(inner, max_size=90),
        max_leaves=40,
    ).filter(lambda value: depth(value) <= 3),
    max_size=80,
)


def depth(value: Any) -> int:
    return 1 + max((depth(item) for item in value), default=0) if isinstance(value, list) else 0


def test_the_bytes_are_these() -> None:
    assert record().encode() == (
        b'{"actor":{"claimed_sudo_user":"ada","command":"tiktrue-keys rotate llama-7b","host":"node-7",'
        b'"login_uid":1000,"uid":0,"user":"root"},"after":"rotating",'
        b'"before":"active","detail":{"successor":"llama-7b_fedcba9876543210"},"epoch":1,"event":"rotate",'
        b'"key_id":"llama-7b_0123456789abcdef","model_id":"llama-7b","number":41,"operation_id":"op-1","outcome":"ok",'
        b'"time":1795608000,"v":2}'
    )


FIRST_VERSION = (
    b'{"actor":{"command":"c","host":"node-7","user":"ada"},"after":null,"before":null,"detail":{%s},"epoch":1,'
    b'"event":"rotate","key_id":null,"model_id":null,"number":41,"operation_id":"op-1","outcome":"ok",'
    b'"time":1795608000,"v":1}'
)


@pytest.mark.parametrize("detail", [b"", b'"list":[1]'], ids=["plain", "nested"])
def test_a_record_of_version_1_is_read(detail: bytes) -> None:
    read = AuditRecord.decode(FIRST_VERSION % detail)

    assert (read.v, read.actor) == (1, Actor("ada", "node-7", "c"))
    assert read.encode() == FIRST_VERSION % detail


@pytest.mark.parametrize(
    "change",
    [
        (b'"uid":0', b'"uid":-1'),
        (b'"uid":0', b'"uid":"0"'),
        (b'"login_uid":1000,', b""),
        (b'"claimed_sudo_user":"ada"', b'"claimed_sudo_user":1'),
        (b'"v":2', b'"v":1'),
        (b'"v":2', b'"v":3'),
        (b'"v":2', b'"v":[]'),
    ],
    ids=str,
)
def test_an_actor_that_is_not_written_so_is_refused(change: tuple[bytes, bytes]) -> None:
    encoded = record().encode()
    assert change[0] in encoded
    with pytest.raises(IntegrityError):
        AuditRecord.decode(encoded.replace(*change))


@pytest.mark.parametrize(
    ("text", "uid"),
    [("1000", 1000), ("0\n", 0), ("4294967295", None), ("", None), ("-1", None), ("ada", None), (None, None)],
)
def test_the_login_is_the_kernels(tmp_path: Path, text: str | None, uid: int | None) -> None:
    if text is not None:
        (tmp_path / "loginuid").write_text(text)

    assert login_uid(str(tmp_path / "loginuid")) == uid


def test_a_record_comes_back() -> None:
    assert AuditRecord.decode(record().encode()) == record()
    bare = AuditRecord(time=NOON, actor=ACTOR, event="list.x-y", outcome="failed", operation_id="o")
    assert AuditRecord.decode(bare.encode()) == bare


@given(user=ANY_TEXT, host=ANY_TEXT, command=ANY_TEXT, detail=DETAIL)
def test_whatever_things_are_called_a_record_fits_and_reads_back(
    user: str, host: str, command: str, detail: dict[str, Any]
) -> None:
    encoded = record(actor=Actor(user, host, command), detail=detail).encode()
    assert len(encoded) <= RECORD_LIMIT
    read = AuditRecord.decode(encoded)
    assert read.encode() == encoded
    for text in (read.actor.user, read.actor.host, read.actor.command):
        assert len(text) <= TEXT_LIMIT
        assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in text)


@pytest.mark.parametrize(
    "sign",
    ["\0", "\n", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066", "\u200f", chr(0xD800), chr(0xDCFF)],
    ids=lambda sign: f"U+{ord(sign):04X}",
)
def test_what_could_forge_a_line_or_break_utf8_is_replaced(sign: str) -> None:
    strange = record(actor=Actor("ada", f"no{sign}de", "c"), detail={"path": f"/tmp/{sign}", "list": [sign]})
    read = AuditRecord.decode(strange.encode())
    assert read.actor.host == "no\ufffdde"
    assert read.detail == {"path": "/tmp/\ufffd", "list": ["\ufffd"]}


def test_letters_of_every_script_stay() -> None:
    actor = Actor("Åsa", "сервер-7", "tiktrue-keys rotate 模型")
    assert AuditRecord.decode(record(actor=actor).encode()).actor == actor


@pytest.mark.parametrize("over", [0, 1])
def test_texts_are_cut_at_their_limits(over: int) -> None:
    text, reason = "t" * (TEXT_LIMIT + over), "r" * (2 * TEXT_LIMIT + over)
    read = AuditRecord.decode(record(actor=Actor(text, "h", "c"), detail={"path": text, "reason": reason}).encode())
    cut_text = text if not over else "t" * (TEXT_LIMIT - 1) + "…"
    cut_reason = reason if not over else "r" * (2 * TEXT_LIMIT - 1) + "…"
    assert read.actor.user == cut_text
    assert read.detail == {"path": cut_text, "reason": cut_reason}


def test_a_list_or_object_that_is_cut_says_so() -> None:
    read = AuditRecord.decode(record(detail={"keys": list(range(100))}).encode())
    assert read.detail["keys"] == [*range(63), "… 37 more"]
    read = AuditRecord.decode(record(detail={f"m{n:02}": n for n in range(70)}).encode())
    assert read.detail == {f"m{n:02}": n for n in range(63)} | {"truncated": True}


def test_a_detail_that_is_too_large_gives_way_and_the_names_stay() -> None:
    huge = {f"m{a}": {f"n{b}": ["🙂" * 300] * 70 for b in range(60)} for a in range(60)}
    read = AuditRecord.decode(record(actor=Actor("🙂" * 300, "🙂" * 300, "🙂" * 300), detail=huge).encode())
    assert read.detail == {"truncated": True}
    assert (read.key_id, read.event, read.operation_id) == (KEY_ID, "rotate", "op-1")
    assert read.actor.user == "🙂" * 31 + "…"


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "rotate\n"},
        {"event": ""},
        {"event": "Rotate"},
        {"event": "r" * 65},
        {"outcome": "fine"},
        {"operation_id": "a\nb"},
        {"operation_id": ""},
        {"operation_id": None},
        {"key_id": "llama\x1b[2J_0123456789abcdef"},
        {"key_id": "k" * 129},
        {"model_id": "modèle"},
        {"before": "act\0ive"},
        {"after": ""},
        {"time": -1},
        {"time": 253_402_300_800},
        {"epoch": -1},
        {"number": MAX_INTEGER + 1},
        {"number": True},
        {"detail": []},
        {"detail": {"Path": 1}},
        {"detail": {"a\n": 1}},
        {"detail": {"ratio": 0.5}},
        {"detail": {"blob": b"x"}},
        {"detail": {"n": MAX_INTEGER + 1}},
        {"detail": {"deep": [[[[[1]]]]]}},
        {"detail": {"a": {"b": {"c": {"d": {"e": 1}}}}}},
    ],
    ids=lambda changes: "-".join(f"{name}={value!r}"[:40] for name, value in changes.items()),
)
def test_a_name_or_value_that_the_program_would_not_write_is_a_bug(changes: dict[str, Any]) -> None:
    with pytest.raises(InternalError):
        record(**changes).encode()


def spoiled(**changes: Any) -> bytes:
    members = json.loads(record().encode()) | changes
    return canonical_json({name: value for name, value in members.items() if value is not ...})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        record().encode()[:-1],
        record().encode() + b"\n",
        record().encode().replace(b":1,", b": 1,", 1),
        spoiled(extra=1),
        spoiled(detail=...),
        spoiled(v=3),
        spoiled(v=True),
        spoiled(v="1"),
        spoiled(time="1795608000"),
        spoiled(time=True),
        spoiled(event=None),
        spoiled(event=7),
        spoiled(outcome=[]),
        spoiled(operation_id=None),
        spoiled(key_id=7),
        spoiled(actor="ada"),
        spoiled(v=1, actor={"user": "ada", "host": "h"}),
        spoiled(v=1, actor={"user": "ada", "host": "h", "command": "c", "pid": 1}),
        spoiled(v=1, actor={"user": 1, "host": "h", "command": "c"}),
        spoiled(v=1, actor={"user": "a\nb", "host": "h", "command": "c"}),
        spoiled(v=1, actor={"user": "u" * 257, "host": "h", "command": "c"}),
        spoiled(detail=None),
        spoiled(detail={"Path": "x"}),
        spoiled(detail={"path": "a\x1bb"}),
        spoiled(detail={"path": "x" * 257}),
        spoiled(detail={"a": [[[[[]]]]]}),
        spoiled(detail={f"m{n}": "x" * 200 for n in range(30)}),
    ],
    ids=range(30),
)
def test_bytes_that_encode_would_not_write_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        AuditRecord.decode(data)
