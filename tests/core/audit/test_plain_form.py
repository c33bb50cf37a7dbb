"""The plain form of a record: what it accepts is what encode writes, and everything else is left to encode."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.counting import calls_of
from tiktrue_keys.core.audit.plain_form import is_written_so
from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.errors import IntegrityError

RECORD = AuditRecord(
    time=Instant(1_795_608_000),
    actor=Actor("ada", "node-7", "a test", uid=0, login_uid=1000),
    event="decrypt",
    outcome="ok",
    operation_id="0123456789abcdef",
    key_id="m_0123456789abcdef",
    model_id="m",
    detail={"a": "/models/é 日", "b": 2, "c": None, "d": True, "e": -7, "f": 0, "g": ""},
    epoch=3,
    number=12,
)
PLAIN = RECORD.encode()
DETAIL = b'"detail":{' + PLAIN.split(b'"detail":{')[1].split(b"}")[0] + b"}"


def plain(data: bytes) -> bool:
    return is_written_so(data, json.loads(data))


def with_detail(text: str) -> bytes:
    return PLAIN.replace(DETAIL, f'"detail":{text}'.encode())


def written_again(data: bytes) -> bytes:
    members: dict[str, Any] = json.loads(data)
    return AuditRecord(**{**members, "actor": Actor(**members["actor"])}).encode()


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        replace(RECORD, detail={}),
        replace(RECORD, v=1),
        replace(RECORD, actor=Actor("ada", "node-7", "a test", claimed_sudo_user="eve")),
        replace(RECORD, key_id=None, model_id=None, before="active", after="revoked"),
        replace(RECORD, detail={f"m{number:02}": "x" * 9 for number in range(64)}),
        replace(RECORD, detail={"long": "x" * 256, "most": 999_999_999_999_999}, time=Instant(0)),
        replace(RECORD, detail={"long": "x" * 300}),  # cut to 256
    ],
)
def test_usual_records_have_it(record: AuditRecord) -> None:
    assert plain(record.encode())


@pytest.mark.parametrize(
    "detail",
    [
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a": 1}',
        '{"A":1}',
        '{"a":-0}',
        '{"a":1.5}',
        '{"a":9007199254740993}',
        '{"a":"\\\\n"}',
        '{"a":"\\\\u0041"}',
        '{"a":"\u202e"}',
        '{"a":"\x7f"}',
        '{"a":"' + "x" * 257 + '"}',
        '{"a":[]}',
        '{"a":{}}',
        "{" + ",".join(f'"m{number:02}":1' for number in range(65)) + "}",
    ],
)
def test_anything_else_is_left_to_encode(detail: str) -> None:
    assert not plain(with_detail(detail))


@pytest.mark.parametrize("detail", ['{"b":1,"a":2}', '{"a":1,"a":1}', '{"a":"\u202e"}', '{"a":"' + "x" * 257 + '"}'])
def test_what_encode_would_not_write_is_refused(detail: str) -> None:
    with pytest.raises(IntegrityError):
        AuditRecord.decode(with_detail(detail))


@given(
    st.integers(0, len(PLAIN.decode()) - 1), st.sampled_from(['"', ",", ":", "\\", "0", "9", "-", " ", "\x7f", "…", ""])
)
def test_bytes_that_have_it_are_those_that_encode_writes(place: int, sign: str) -> None:
    text = PLAIN.decode()
    changed = (text[:place] + sign + text[place + 1 :]).encode()
    try:
        members = json.loads(changed)
    except ValueError:
        return
    if isinstance(members, dict) and "detail" in members and is_written_so(changed, members):
        assert written_again(changed) == changed


def test_a_plain_record_is_decoded_in_few_calls() -> None:
    AuditRecord.decode(PLAIN)

    assert calls_of(lambda: AuditRecord.decode(PLAIN)).total() <= 2 * 31
