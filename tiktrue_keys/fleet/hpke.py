"""HPKE (RFC 9180, base mode) to a keystore's identity: X-Wing 0x647a, HKDF-SHA256 0x0001, AES-256-GCM 0x0002.

Sealed bytes are enc (1120 bytes), then the ciphertext with its 16-byte tag. There is no associated data: `info` binds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiktrue_keys.core.derivation import x_wing_pair
from tiktrue_keys.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

ENC_LENGTH = 1120
TAG_LENGTH = 16
_ML_KEM_PUBLIC = 1184
_X_WING_PUBLIC = 1216


def public_key(raw: bytes) -> MLKEM768X25519PublicKey:
    """Return the X-Wing public key of 1216 bytes: ML-KEM-768 encapsulation key (1184), then X25519 (32).

    Raises IntegrityError for any other length and for a malformed key.
    """
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

    if len(raw) != _X_WING_PUBLIC:
        raise IntegrityError("an identity's public half has the wrong length")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:_ML_KEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(raw[_ML_KEM_PUBLIC:]),
        )
    except ValueError as error:
        raise IntegrityError("an identity's public half is malformed") from error


def private_key(seed: memoryview) -> MLKEM768X25519PrivateKey:
    """Return the private key of a 32-byte seed."""
    return x_wing_pair(seed)[0]


def seal(plaintext: memoryview, public: MLKEM768X25519PublicKey, info: bytes) -> bytes:
    """Seal the plaintext to a public key. Raises IntegrityError when the key yields no shared secret."""
    try:
        return suite().encrypt(plaintext, public, info=info)
    except ValueError as error:
        raise IntegrityError("an identity's public half is malformed") from error


def unseal(sealed: bytes, private: MLKEM768X25519PrivateKey, info: bytes) -> bytes:
    """Return the plaintext. Raises IntegrityError when the bytes, the key or `info` differ."""
    from cryptography.exceptions import InvalidTag

    if len(sealed) < ENC_LENGTH + TAG_LENGTH:
        raise IntegrityError("the envelope's sealed part is too short")
    try:
        return suite().decrypt(sealed, private, info=info)
    except (InvalidTag, ValueError):
        raise IntegrityError("the envelope does not open") from None


def suite() -> Suite:
    """Return the only suite of this format."""
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
