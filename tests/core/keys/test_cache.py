"""Opened keys in memory: at most 64, by key and license, and none of an earlier state of the keystore."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tiktrue_keys.core.keys.cache import OpenedKeyCache
from tiktrue_keys.core.secret import SecretBuffer

STATE, LATER = b"state", b"later"


@pytest.fixture
def cache() -> Iterator[OpenedKeyCache]:
    made = OpenedKeyCache()
    assert made.get("none", "", STATE) is None  # from here on the cache is of this state
    yield made
    made.clear()


def put(cache: OpenedKeyCache, key_id: str, secret: bytes, license_tag: str = "") -> None:
    with SecretBuffer.copy_of(secret) as buffer:
        cache.put(key_id, license_tag, buffer)


def get(cache: OpenedKeyCache, key_id: str, license_tag: str = "", state: bytes = STATE) -> bytes | None:
    found = cache.get(key_id, license_tag, state)
    if found is None:
        return None
    with found:
        return bytes(found.view)


def test_a_copy_goes_in_and_each_reader_gets_a_copy(cache: OpenedKeyCache) -> None:
    put(cache, "llama", b"secret")
    assert get(cache, "llama") == b"secret"
    assert get(cache, "llama") == b"secret"


def test_another_license_is_another_entry(cache: OpenedKeyCache) -> None:
    put(cache, "llama", b"secret", "one")
    assert get(cache, "llama", "two") is None


def test_the_later_secret_of_a_key_counts(cache: OpenedKeyCache) -> None:
    put(cache, "llama", b"secret")
    put(cache, "llama", b"newest")
    assert get(cache, "llama") == b"newest"


def test_a_change_of_the_keystore_empties_it(cache: OpenedKeyCache) -> None:
    put(cache, "llama", b"secret")
    assert get(cache, "llama", state=LATER) is None
    assert get(cache, "llama") is None


def test_the_one_that_was_used_longest_ago_makes_room(cache: OpenedKeyCache) -> None:
    for number in range(64):
        put(cache, f"key-{number}", b"secret")
    assert get(cache, "key-0") == b"secret"
    put(cache, "one more", b"secret")
    assert get(cache, "key-1") is None
    assert all(get(cache, name) for name in ("key-0", "key-2", "key-63", "one more"))
