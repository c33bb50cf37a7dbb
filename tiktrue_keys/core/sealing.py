"""Seals and opens records and keys with AES-256-GCM-SIV (RFC 8452) and associated data.

Come here for how a keystore's records and all wrapped keys are encrypted. GCM-SIV was chosen because keystores are
copied and restored: a repeated nonce reveals that two plaintexts are equal and nothing more. The functions are pure;
they read no table and no file.
"""

from __future__ import annotations

import os
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError

NONCE_LENGTH = 12
TAG_LENGTH = 16
OVERHEAD = NONCE_LENGTH + TAG_LENGTH

_PLAIN = b"\x00"
_DEFLATED = b"\x01"
_COMPRESSION_FLOOR = 200  # bytes; shorter records are hex and base64 and little else: deflating is not worth its time
_WINDOW, _MEMORY = -12, 5  # raw, 4 KiB window: 8 us for a key record; the default's 256 KiB of state takes 59 us


def wrap_key(kek: memoryview, secret: memoryview, context: bytes) -> bytes:
    """Return `secret` wrapped under a 32-byte key encryption key: nonce 12 | ciphertext | tag 16."""
    nonce = os.urandom(NONCE_LENGTH)
    return nonce + AESGCMSIV(kek).encrypt(nonce, secret, context)


def unwrap_key(kek: memoryview, wrapped: bytes, context: bytes, length: int = 32) -> SecretBuffer:
    """Return the secret of `length` bytes that wrap_key wrapped.

    Raises IntegrityError when the key, the context or the bytes differ.
    """
    if len(wrapped) != length + OVERHEAD:
        raise IntegrityError("a wrapped key has the wrong length")
    secret = SecretBuffer(length)
    try:
        AESGCMSIV(kek).decrypt_into(wrapped[:NONCE_LENGTH], wrapped[NONCE_LENGTH:], context, secret.view)
    except InvalidTag:
        secret.wipe()
        raise IntegrityError("a wrapped key does not open") from None
    return secret


class Sealer:
    """Seals records under one 32-byte key, and deflates them first where that makes them smaller."""

    def __init__(self, key: memoryview) -> None:
        self._cipher = AESGCMSIV(key)

    def seal(self, payload: bytes, context: bytes) -> bytes:
        """Return nonce 12 | ciphertext of (flag | payload or its raw deflate) | tag 16."""
        return self.seal_packed(packed(payload), context)

    def seal_packed(self, data: bytes, context: bytes) -> bytes:
        """Return what `seal` returns, for a payload that `packed` has packed."""
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + self._cipher.encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes, *, limit: int, what: str = "a record") -> bytes:
        """Return the payload of a sealed record.

        Raises IntegrityError when the record was modified or moved, or when the payload is longer than `limit` bytes.
        """
        return unpacked(self.open_packed(sealed, context, limit=limit, what=what), limit, what)

    def open_packed(self, sealed: bytes, context: bytes, *, limit: int, what: str = "a record") -> bytes:
        """Return the payload of a sealed record as `packed` has packed it. Raises IntegrityError as `open` does."""
        if not OVERHEAD < len(sealed) <= limit + OVERHEAD + 1:
            raise IntegrityError(f"{what} has an impossible length")
        try:
            return self._cipher.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], context)
        except InvalidTag:
            raise IntegrityError(f"{what} was changed") from None


def seal_tag(sealed: bytes) -> bytes:
    """Return the last 16 bytes of a sealed record, which represent all of it in a bucket digest."""
    return sealed[-TAG_LENGTH:]


def packed(payload: bytes) -> bytes:
    """Return a flag and the payload, deflated where that makes it smaller."""
    if len(payload) >= _COMPRESSION_FLOOR:
        deflate = zlib.compressobj(6, zlib.DEFLATED, _WINDOW, _MEMORY)
        deflated = deflate.compress(payload) + deflate.flush()
        if len(deflated) < len(payload):
            return _DEFLATED + deflated
    return _PLAIN + payload


def unpacked(data: bytes, limit: int, what: str = "a record") -> bytes:
    """Return the payload that was packed. Raises IntegrityError when it does not inflate to at most `limit` bytes."""
    flag, body = data[:1], data[1:]
    if flag == _PLAIN:
        return body
    inflate = zlib.decompressobj(-15)
    try:
        payload = inflate.decompress(body, limit + 1)
    except zlib.error:
        raise IntegrityError(f"{what} does not inflate") from None
    if flag != _DEFLATED or len(payload) > limit or not inflate.eof or inflate.unused_data:
        raise IntegrityError(f"{what} does not inflate")
    return payload
