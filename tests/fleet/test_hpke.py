"""HPKE with X-Wing against the published vector, and our suite against RFC 9180's key schedule written out again."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from tiktrue_keys.core.derivation import x_wing_public_bytes
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet import hpke

VECTOR: dict[str, Any] = json.loads((Path(__file__).parent / "hpke-x-wing.json").read_text())["case"]
INFO = bytes.fromhex(VECTOR["info"])
ENC = bytes.fromhex(VECTOR["enc"])
SEED = bytes.fromhex(VECTOR["skRm"])
SHARED = bytes.fromhex(VECTOR["shared_secret"])
AES_256_GCM, CHACHA20_POLY1305 = 2, 3


def _hkdf_expand(secret: bytes, info: bytes, length: int) -> bytes:
    block, output = b"", b""
    for counter in range(1, 3):
        block = hmac.digest(secret, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


def _labelled_extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")


def _labelled_expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return _hkdf_expand(secret, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def schedule(aead: int, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce of RFC 9180, section 5.1, base mode."""
    suite = b"HPKE" + (0x647A).to_bytes(2, "big") + (1).to_bytes(2, "big") + aead.to_bytes(2, "big")
    context = b"\x00" + _labelled_extract(suite, b"", b"psk_id_hash", b"")
    context += _labelled_extract(suite, b"", b"info_hash", info)
    secret = _labelled_extract(suite, shared, b"secret", b"")
    key = _labelled_expand(suite, secret, b"key", context, 32)
    return key, _labelled_expand(suite, secret, b"base_nonce", context, 12)


def test_the_seed_gives_the_published_public_key() -> None:
    assert x_wing_public_bytes(memoryview(SEED)).hex() == VECTOR["pkRm"]


def test_the_key_schedule_of_the_vector() -> None:
    key, nonce = schedule(CHACHA20_POLY1305, SHARED, INFO)
    assert (key.hex(), nonce.hex()) == (VECTOR["key"], VECTOR["base_nonce"])
    first = VECTOR["encryptions"][0]
    sealed = ChaCha20Poly1305(key).encrypt(nonce, bytes.fromhex(first["pt"]), bytes.fromhex(first["aad"]))
    assert sealed.hex() == first["ct"]


def test_the_library_opens_what_the_published_key_and_nonce_seal() -> None:
    key, nonce = bytes.fromhex(VECTOR["key"]), bytes.fromhex(VECTOR["base_nonce"])
    sealed = ChaCha20Poly1305(key).encrypt(nonce, b"a key", b"")
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    assert suite.decrypt(ENC + sealed, hpke.private_key(memoryview(SEED)), info=INFO) == b"a key"


def test_our_suite_opens_what_the_published_shared_secret_seals() -> None:
    key, nonce = schedule(AES_256_GCM, SHARED, INFO)
    sealed = AESGCM(key).encrypt(nonce, b"a key", b"")
    assert hpke.unseal(ENC + sealed, hpke.private_key(memoryview(SEED)), INFO) == b"a key"


@pytest.mark.parametrize("length", [0, hpke.ENC_LENGTH, hpke.ENC_LENGTH + hpke.TAG_LENGTH - 1])
def test_too_short_to_be_sealed(length: int) -> None:
    with pytest.raises(IntegrityError):
        hpke.unseal(bytes(length), hpke.private_key(memoryview(SEED)), INFO)


@pytest.mark.parametrize("raw", [b"", bytes(1215), b"\xff" * 1216])
def test_malformed_public_halves(raw: bytes) -> None:
    with pytest.raises(IntegrityError):
        hpke.public_key(raw)
