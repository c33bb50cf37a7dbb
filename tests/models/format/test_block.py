"""The envelope of a block in memory: one spelling, bound to key, model and block, and nothing opens after a change."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.names import KeyId
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError, UsageError
from tiktrue_keys.models.format import block
from tiktrue_keys.models.format.block import open_block, read_block_head, seal_block

KEY_ID = KeyId("llama/7b_0123456789abcdef")
KEY = bytes(range(32))


def seal(data: bytes | memoryview, **changes: Any) -> bytes:
    with SecretBuffer.copy_of(KEY) as key:
        return seal_block(data, key.view, **{"key_id": KEY_ID, "generation": 3, "block_id": "layer 1", **changes})


def opened(envelope: bytes | memoryview, key: bytes = KEY) -> bytes:
    with SecretBuffer.copy_of(key) as secret:
        return open_block(envelope, secret.view)


@given(st.binary(max_size=300), st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_block_opens(data: bytes, block_id: str) -> None:
    envelope = seal(data, block_id=block_id)
    head, at = read_block_head(envelope)
    assert (head.key_id, head.generation, head.block_id) == (KEY_ID, 3, block_id)
    assert head.encode() == envelope[:at]
    assert opened(envelope) == data
    assert len(envelope) == len(data) + at + 12 + 16


def test_no_two_envelopes_are_alike() -> None:
    assert seal(b"same") != seal(b"same")


def test_every_bit_counts() -> None:
    envelope = seal(b"0123456789")
    for at in range(len(envelope)):
        changed = bytearray(envelope)
        changed[at] ^= 1
        with pytest.raises(IntegrityError):
            opened(bytes(changed))


def test_every_cut_and_anything_appended() -> None:
    envelope = seal(b"0123456789")
    for length in range(len(envelope)):
        with pytest.raises(IntegrityError):
            opened(envelope[:length])
    with pytest.raises(IntegrityError):
        opened(envelope + b"\0")


def test_another_key() -> None:
    with pytest.raises(IntegrityError):
        opened(seal(b"x"), os.urandom(32))


def test_heads_are_not_exchangeable() -> None:
    """Two blocks under one key: the head of one does not fit the other, whatever it says."""
    first, second = seal(b"first", block_id="1"), seal(b"other", block_id="2")
    at = read_block_head(first)[1]
    with pytest.raises(IntegrityError):
        opened(first[:at] + second[at:])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_our_words(data: bytes) -> None:
    with pytest.raises(TikTrueKeysError):
        opened(block.MAGIC + data)


@pytest.mark.parametrize("key_id", [b"llama", b"\xff" * 30, b"llama_0123456789ABCDEF", b""])
def test_a_head_that_names_no_key(key_id: bytes) -> None:
    envelope = block.MAGIC + bytes([len(key_id)]) + key_id + struct.pack(">IH", 1, 0) + bytes(16 + 60 + 12 + 16)
    with pytest.raises(IntegrityError, match="names no managed key"):
        opened(envelope)


def test_limits() -> None:
    assert read_block_head(seal(b"", block_id="x" * 255))[0].block_id == "x" * 255
    with pytest.raises(UsageError, match="255"):
        seal(b"", block_id="é" * 128)
    with pytest.raises(UsageError, match="surrogate"):
        seal(b"", block_id="\ud800")
    head = seal(b"")
    # Anonymous memory takes no room until it is written to.
    with mmap.mmap(-1, block.MAX_BLOCK + len(head) + 1) as memory, memoryview(memory) as too_long:
        with pytest.raises(RefusedError, match="1 GiB"):
            seal(too_long)
        too_long[: len(head)] = head
        with pytest.raises(IntegrityError, match="longer"):
            opened(too_long)


def test_a_block_id_longer_than_any() -> None:
    key_id = KEY_ID.encode()
    envelope = block.MAGIC + bytes([len(key_id)]) + key_id + struct.pack(">IH", 1, 256) + bytes(500)
    with pytest.raises(IntegrityError, match="too long"):
        opened(envelope)
