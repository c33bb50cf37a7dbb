"""Packed keys: the same keys, in order, in little memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from types import MappingProxyType

import pytest

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.packed import PackedKeys
from tiktrue_keys.core.names import KeyId, ModelId

PLAIN = ManagedKey(KeyId("m_0123456789abcdef"), ModelId("m"), 1, Instant(5), Instant(50), Instant(500))
FULL = replace(
    PLAIN,
    key_id=KeyId("m_fedcba9876543210"),
    generation=2,
    status=Status.REVOKED,
    license_tag="0011",
    predecessor=PLAIN.key_id,
    successor=KeyId("m_0000000000000000"),
    pending=True,
    rotated_at=Instant(6),
    overlap_ends_at=Instant(7),
    revoked_at=Instant(2**40),
    revoke_reason="café \ud800",
    destroy_at=Instant(9),
    destroyed_at=Instant(10),
    exported=True,
    fingerprint="ab" * 32,
    labels=MappingProxyType({"team": "research"}),
    audit_number=77,
)


@pytest.mark.parametrize("key", [PLAIN, FULL])
def test_a_key_comes_back_with_every_member(key: ManagedKey) -> None:
    (again,) = PackedKeys([key])

    assert again == key
    assert (again.audit_number, again.status, type(again.labels)) == (key.audit_number, key.status, MappingProxyType)


def test_a_sequence_has_length_places_slices_and_ids() -> None:
    keys = PackedKeys([PLAIN, FULL, PLAIN])

    assert (len(keys), keys[1], keys[-1]) == (3, FULL, PLAIN)
    assert list(keys[1:]) == [FULL, PLAIN]
    assert list(keys[:None]) == list(keys) == [PLAIN, FULL, PLAIN]
    assert list(keys.ids()) == [PLAIN.key_id, FULL.key_id, PLAIN.key_id]
    assert not PackedKeys()


def test_keys_are_sorted_by_an_order_and_stay_as_they_came_without_one() -> None:
    assert list(PackedKeys([FULL, PLAIN], order=lambda key: (key.generation,))) == [PLAIN, FULL]
    assert list(PackedKeys([FULL, PLAIN])) == [FULL, PLAIN]


@pytest.mark.untraced
def test_a_key_takes_few_bytes() -> None:
    count = 2_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        keys = PackedKeys(replace(PLAIN, key_id=KeyId(f"model_{number:016x}")) for number in range(count))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(keys) == count
    assert (after - before) / count <= 250
