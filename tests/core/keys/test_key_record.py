"""A key's record as it is read: every member of its kind, none unknown, none missing."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import pytest

from tests.keystores import error_of
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.key_record import key_record, read_key_record
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.names import KeyId, ModelId
from tiktrue_keys.errors import IntegrityError

_TIMES = ("rotated_at", "overlap_ends_at", "revoked_at", "destroy_at", "destroyed_at", "promoted_at")
FULL = ManagedKey(
    KeyId("org/llama_00000000000000aa"),
    ModelId("org/llama"),
    3,
    Instant(1),
    Instant(2),
    Instant(3),
    license_tag="00112233",
    predecessor=KeyId("org/llama_00000000000000bb"),
    successor=KeyId("org/llama_00000000000000cc"),
    pending=True,
    revoke_reason="leaked",
    exported=True,
    fingerprint="ab",
    labels={"team": "a"},
    audit_number=7,
    origin="a" * 32,
    origin_epoch=2,
    rotated_at=Instant(9),
    overlap_ends_at=Instant(9),
    revoked_at=Instant(9),
    destroy_at=Instant(9),
    destroyed_at=Instant(9),
    promoted_at=Instant(9),
    rotate_every=Seconds(9),
    rotate_before=Seconds(9),
)
RECORD = key_record(FULL, bytes(60))


def test_every_member_is_read_as_it_was_stored() -> None:
    assert read_key_record(RECORD) == (FULL, bytes(60))
    assert RECORD.keys() == {each.name for each in fields(ManagedKey)} - {"status"} | {"wrapped"}


WRONG: dict[str, list[Any]] = {
    "key_id": ["llama", "other_00000000000000aa", None, 7],
    "model_id": ["org", "", 7],
    "generation": [0, 1 << 31, True, "3", 1.0],
    "predecessor": ["llama", 7],
    "successor": ["", []],
    "labels": [[], {"team": 7}, None],
    "wrapped": ["AAA", "AAAA", "é", 7, None],
    "license_tag": [7],
    "revoke_reason": [7],
    "origin": [{}],
    "fingerprint": [None, 7],
    **{name: [-1, 1 << 53, True, "1", None] for name in ("created_at", "expires_at", "decrypt_until")},
    **{name: [-1, 1 << 53, True, 1.5] for name in (*_TIMES, "audit_number", "origin_epoch")},
    **{name: [1, "true", None] for name in ("pending", "exported")},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_member_is_refused(name: str) -> None:
    for value in WRONG[name]:
        error = error_of(partial(read_key_record, {**RECORD, name: value}))
        assert isinstance(error, IntegrityError), value


def test_an_unknown_or_a_missing_member_is_refused() -> None:
    for extra in ("status", "note"):
        with pytest.raises(IntegrityError):
            read_key_record({**RECORD, extra: "active"})
    for name in ("key_id", "model_id", "generation", "created_at", "expires_at", "decrypt_until", "labels", "wrapped"):
        with pytest.raises(IntegrityError):
            read_key_record({other: value for other, value in RECORD.items() if other != name})
