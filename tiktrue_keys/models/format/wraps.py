"""Wraps a container's data key for each key that may open it, and unwraps it. Bytes in, bytes out; finds no key.

Two kinds, both bound to the file, the model, the key and its generation by derivation.wrap_context, whose first part is
the kind: `managed-key` is AES-256-GCM-SIV under the managed key with that context as associated data; `hpke` is HPKE
(RFC 9180, base mode) to the managed key's X-Wing half with that context as `info` and no associated data: enc, 1120
bytes, then the sealed data key, 48 bytes. Suite: X-Wing (0x647a), HKDF-SHA256, AES-256-GCM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiktrue_keys.core.derivation import KEY_LENGTH, managed_key_hpke, wrap_context
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.header import Wrap, WrapType

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

RECIPIENT_KEY_LENGTH = 1216
"""Bytes of an X-Wing public key: ML-KEM-768 encapsulation key 1184, then X25519 32."""
_ML_KEM_LENGTH = 1184


def wrap_for_key(
    data_key: memoryview, managed_key: memoryview, *, file_id: bytes, model_id: str, key_id: str, generation: int
) -> Wrap:
    """Wrap the 32-byte data key under the 32 secret bytes of a managed key."""
    context = _context(WrapType.MANAGED_KEY, file_id, model_id, key_id, generation)
    return Wrap(WrapType.MANAGED_KEY, key_id, generation, wrap_key(managed_key, data_key, context))


def wrap_for_recipient(
    data_key: memoryview, public: bytes, *, file_id: bytes, model_id: str, key_id: str, generation: int
) -> Wrap:
    """Wrap the 32-byte data key for a managed key's X-Wing half, 1216 public bytes.

    Raises RefusedError when the bytes are not a valid public key.
    """
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

    if len(public) != RECIPIENT_KEY_LENGTH:
        raise RefusedError(f"a recipient's public key has {RECIPIENT_KEY_LENGTH} bytes, not {len(public)}")
    context = _context(WrapType.HPKE, file_id, model_id, key_id, generation)
    try:
        recipient = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_ML_KEM_LENGTH]),
            X25519PublicKey.from_public_bytes(public[_ML_KEM_LENGTH:]),
        )
        wrapped = _suite().encrypt(data_key, recipient, info=context)
    except ValueError as error:
        raise RefusedError("a recipient's public key is malformed", "export it again", remedy="export-again") from error
    return Wrap(WrapType.HPKE, key_id, generation, wrapped)


def unwrap_data_key(wrap: Wrap, managed_key: memoryview, *, file_id: bytes, model_id: str) -> SecretBuffer:
    """Unwrap and return the 32-byte data key. Raises IntegrityError when the key, the context or the bytes differ."""
    context = _context(wrap.type, file_id, model_id, wrap.key_id, wrap.generation)
    if wrap.type is WrapType.MANAGED_KEY:
        return unwrap_key(managed_key, wrap.wrapped, context)
    return _unwrap_hpke(wrap.wrapped, managed_key, context)


def _unwrap_hpke(wrapped: bytes, managed_key: memoryview, context: bytes) -> SecretBuffer:
    from cryptography.exceptions import InvalidTag

    private, _ = managed_key_hpke(managed_key)
    try:
        data_key = _suite().decrypt(wrapped, private, info=context)
    except (InvalidTag, ValueError):
        raise IntegrityError("a wrapped key cannot be opened") from None
    if len(data_key) != KEY_LENGTH:
        raise IntegrityError("a wrapped key has the wrong length")
    return SecretBuffer.copy_of(data_key)


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _context(kind: WrapType, file_id: bytes, model_id: str, key_id: str, generation: int) -> bytes:
    return wrap_context(kind.value, file_id=file_id, model_id=model_id, key_id=key_id, generation=generation)
