"""Buckets, digests and the root: pure, and what each of them covers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.keystore.integrity import EMPTY_BUCKET, RowSummary, bucket_digest, bucket_of, state_root
from tiktrue_keys.core.keystore.schema import BUCKETS

KEY = memoryview(bytes(range(32)))
ROW = RowSummary(b"t" * 16, 1, 1, b"o" * 16, b"s" * 16)
STATE: dict[str, Any] = {
    "keystore_id": bytes(16),
    "epoch": 1,
    "document": b"{}",
    "audit_size": 3,
    "audit_head": bytes(32),
    "checkpoint": "note",
    "digests": bytes(64),
}


@given(st.binary(min_size=16, max_size=16))
def test_every_tag_has_one_of_4096_buckets(tag: bytes) -> None:
    assert 0 <= bucket_of(tag) < BUCKETS
    assert bucket_of(tag) == bucket_of(tag[:2] + bytes(14))


def test_buckets_from_the_first_to_the_last() -> None:
    assert bucket_of(bytes(16)) == 0
    assert bucket_of(b"\x00\x10" + bytes(14)) == 1
    assert bucket_of(b"\xff" * 16) == BUCKETS - 1


def test_an_empty_bucket_has_no_digest_of_its_own() -> None:
    assert bucket_digest(KEY, 7, []) == EMPTY_BUCKET


@pytest.mark.parametrize(
    "changes",
    [
        {"tag": b"T" * 16},
        {"kind": 2},
        {"revision": 2},
        {"owner": None},
        {"owner": b"O" * 16},
        {"seal_tag": b"S" * 16},
    ],
)
def test_a_digest_covers_every_column(changes: dict[str, Any]) -> None:
    assert bucket_digest(KEY, 7, [ROW._replace(**changes)]) != bucket_digest(KEY, 7, [ROW])


def test_a_digest_covers_bucket_number_and_order_of_rows() -> None:
    other = ROW._replace(tag=b"u" * 16)
    made = [
        bucket_digest(KEY, 7, [ROW]),
        bucket_digest(KEY, 8, [ROW]),
        bucket_digest(KEY, 7, [ROW, other]),
        bucket_digest(KEY, 7, [other, ROW]),
        bucket_digest(KEY, 7, [ROW, ROW]),
        bucket_digest(memoryview(bytes(32)), 7, [ROW]),
    ]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    "changes",
    [
        {"keystore_id": b"1" * 16},
        {"epoch": 2},
        {"document": b"{ }"},
        {"audit_size": 4},
        {"audit_head": b"1" * 32},
        {"checkpoint": "Note"},
        {"digests": b"1" * 64},
    ],
)
def test_the_root_covers_everything_that_says_what_the_keystore_is(changes: dict[str, Any]) -> None:
    assert state_root(KEY, **STATE) == state_root(KEY, **STATE)
    assert state_root(KEY, **(STATE | changes)) != state_root(KEY, **STATE)
