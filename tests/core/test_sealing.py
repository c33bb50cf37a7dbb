"""AES-256-GCM-SIV: the published vectors, and what a seal holds against."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.sealing import OVERHEAD, Sealer, seal_tag, unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError

CASES = json.loads((Path(__file__).parents[1] / "vectors/aes-256-gcm-siv.json").read_text())["cases"]
KEK = memoryview(bytes(range(32)))
SECRET = memoryview(bytes(range(100, 132)))
CONTEXT = b"what it is bound to"
LIMIT = 4096


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["sealed"][:12])
def test_rfc_8452(case: dict[str, str]) -> None:
    key, nonce, context, plaintext, sealed = (
        bytes.fromhex(case[name]) for name in ("key", "nonce", "context", "plaintext", "sealed")
    )
    assert AESGCMSIV(key).encrypt(nonce, plaintext, context) == sealed
    if plaintext:  # a secret has at least one byte
        with unwrap_key(memoryview(key), nonce + sealed, context, len(plaintext)) as opened:
            assert opened.view == plaintext


def test_a_wrapped_key_opens_and_never_looks_the_same_twice() -> None:
    wrapped = wrap_key(KEK, SECRET, CONTEXT)
    assert len(wrapped) == 32 + OVERHEAD == 60
    assert wrapped != wrap_key(KEK, SECRET, CONTEXT)
    with unwrap_key(KEK, wrapped, CONTEXT) as opened:
        assert opened.view == SECRET


def test_every_bit_of_a_wrapped_key_counts() -> None:
    wrapped = wrap_key(KEK, SECRET, CONTEXT)
    for bit in range(len(wrapped) * 8):
        edited = bytearray(wrapped)
        edited[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            unwrap_key(KEK, bytes(edited), CONTEXT)


@pytest.mark.parametrize("wrapped", [b"", bytes(59), bytes(61)])
def test_a_wrapped_key_of_another_length_is_refused(wrapped: bytes) -> None:
    with pytest.raises(IntegrityError, match="length"):
        unwrap_key(KEK, wrapped, CONTEXT)


def test_another_context_or_key_does_not_open() -> None:
    wrapped = wrap_key(KEK, SECRET, CONTEXT)
    for kek, context in ((KEK, b"another"), (KEK, b""), (SECRET, CONTEXT)):
        with pytest.raises(IntegrityError):
            unwrap_key(kek, wrapped, context)


@given(st.binary(max_size=LIMIT) | st.builds(lambda part: part * 50, st.binary(min_size=1, max_size=80)))
def test_a_record_opens_to_what_was_sealed_deflated_only_where_that_is_smaller(payload: bytes) -> None:
    sealed = Sealer(KEK).seal(payload, CONTEXT)
    assert len(sealed) <= len(payload) + OVERHEAD + 1
    assert Sealer(KEK).open(sealed, CONTEXT, limit=max(len(payload), 1)) == payload
    assert sealed.endswith(seal_tag(sealed))


def test_a_record_that_cannot_be_deflated_is_stored_as_it_is() -> None:
    payload = bytes(range(256))
    assert len(Sealer(KEK).seal(payload, CONTEXT)) == len(payload) + OVERHEAD + 1


def test_a_repetitive_record_is_stored_small() -> None:
    assert len(Sealer(KEK).seal(b"key" * 1000, CONTEXT)) < 100


def sealed_raw(packed: bytes) -> bytes:
    return bytes(12) + AESGCMSIV(bytes(KEK)).encrypt(bytes(12), packed, CONTEXT)


def deflated(payload: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(payload) + deflate.flush()


@pytest.mark.parametrize(
    "packed",
    [
        b"\x02payload",
        b"\x01not deflate",
        b"\x01" + deflated(b"x" * 100)[:-1],
        b"\x01" + deflated(b"x" * 100) + b"more",
        b"\x01" + deflated(bytes(LIMIT + 1)),
        b"\x01" + deflated(bytes(100_000_000)),
    ],
    ids=["flag", "no deflate", "cut", "trailing", "too long", "bomb"],
)
def test_a_record_that_nobody_here_would_seal_is_refused(packed: bytes) -> None:
    with pytest.raises(IntegrityError):
        Sealer(KEK).open(sealed_raw(packed), CONTEXT, limit=LIMIT)


@pytest.mark.parametrize("sealed", [b"", bytes(OVERHEAD), bytes(LIMIT + OVERHEAD + 2)])
def test_a_record_of_impossible_length_is_not_even_tried(sealed: bytes) -> None:
    with pytest.raises(IntegrityError, match="length"):
        Sealer(KEK).open(sealed, CONTEXT, limit=LIMIT)


def test_a_record_elsewhere_or_edited_is_refused_by_name() -> None:
    sealed = Sealer(KEK).seal(b"payload", CONTEXT)
    with pytest.raises(IntegrityError, match="audit record 7 was changed"):
        Sealer(KEK).open(sealed, b"elsewhere", limit=LIMIT, what="audit record 7")
    for bit in range(len(sealed) * 8):
        edited = bytearray(sealed)
        edited[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            Sealer(KEK).open(bytes(edited), CONTEXT, limit=LIMIT)


def test_the_secret_that_did_not_open_leaves_no_plaintext_behind() -> None:
    # decrypt_into writes before it verifies: the buffer must be wiped, so that its cell comes back zero.
    wrapped = bytearray(wrap_key(KEK, SECRET, CONTEXT))
    wrapped[-1] ^= 1
    for _ in range(3):
        with pytest.raises(IntegrityError):
            unwrap_key(KEK, bytes(wrapped), CONTEXT)
    with SecretBuffer(32) as fresh:
        assert not any(fresh.view)
