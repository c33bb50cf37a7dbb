"""The encodings, derivations and signatures of man/tiktrue-keys-format.5, for writers that know the page alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LABEL = b"tiktrue-keys/1 "


def canonical(value: Any) -> bytes:
    """Canonical JSON, also of what a reader refuses."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def hkdf(key: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(key)


def wrap(key: bytes, secret: bytes, context: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + AESGCMSIV(key).encrypt(nonce, secret, context)


def unwrap(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    return AESGCMSIV(key).decrypt(wrapped[:12], wrapped[12:], context)


def wrap_context(kind: str, identity: bytes, model_id: str, key_id: str, generation: int) -> bytes:
    names = kind.encode(), identity, model_id.encode(), key_id.encode()
    return joined(LABEL + b"wrap", *names, (generation % 2**32).to_bytes(4, "big"))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Signer:
    """An Ed25519 key that signs as a keystore does."""

    def __init__(self, seed: bytes | None = None) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed or os.urandom(32))
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, kind: str, value: Any) -> bytes:
        return self.sign_text(kind, canonical(value))

    def sign_text(self, kind: str, text: bytes) -> bytes:
        return self._key.sign(LABEL + kind.encode() + b"\0" + text)
