"""The envelope of one model block: a piece of a model in memory, encrypted under a managed key without a file. Pure.

    magic `TTB1` 4 | n, length of the key id 1 | key id n | generation 4 | m, length of the block id 2 | block id m |
    envelope id 16 | wrapped block key 60 | nonce 12 | ciphertext | tag 16

Integers are big-endian; the key id is ASCII, the block id UTF-8 of at most 255 bytes, chosen by the caller. Each block
has a random 32-byte key, which seals this block alone with AES-256-GCM-SIV (RFC 8452); its associated data are all
bytes before the nonce. The block key is wrapped like a container's data key: AES-256-GCM-SIV under the managed key,
with associated data from derivation.wrap_context (kind `model-block`, the envelope id in place of the file id). Each
field has exactly one valid encoding, so an envelope can be read in one way only. A block holds at most 1 GiB; encrypt
anything larger as a file.

Does not handle: finding keys; the order of blocks (use the block id for that); signatures: any holder of the managed
key can make a block.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from tiktrue_keys.core.derivation import wrap_context
from tiktrue_keys.core.names import KeyArgumentKind, KeyId, model_of, parse_key_argument
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError, UsageError

MAX_BLOCK = 1 << 30
MAX_BLOCK_ID = 255
MAGIC = b"TTB1"

_KIND = "model-block"
_ID_LENGTH = 16
_WRAPPED_LENGTH = 60
_NONCE_LENGTH = 12
_TAG_LENGTH = 16
_CUT = "the model block was cut off"


@dataclass(frozen=True)
class BlockHead:
    """Everything in an envelope before the nonce. It is authentic only after the block has been opened."""

    key_id: KeyId
    generation: int
    block_id: str
    envelope_id: bytes
    wrapped: bytes

    def encode(self) -> bytes:
        """Return the encoded head, which is the block's associated data."""
        key_id, block_id = self.key_id.encode("ascii"), self.block_id.encode("utf-8")
        return b"".join(
            (
                MAGIC,
                struct.pack(">B", len(key_id)),
                key_id,
                struct.pack(">IH", self.generation, len(block_id)),
                block_id,
                self.envelope_id,
                self.wrapped,
            )
        )

    def context(self) -> bytes:
        """Return the context that the wrapped block key is bound to."""
        return _context(self.key_id, self.generation, self.envelope_id)


def seal_block(
    data: bytes | bytearray | memoryview, managed_key: memoryview, *, key_id: KeyId, generation: int, block_id: str
) -> bytes:
    """Encrypt `data` under a managed key's 32 secret bytes; return the envelope.

    Raises UsageError when the block id exceeds 255 bytes or cannot be encoded, RefusedError when `data` exceeds 1 GiB.
    """
    try:
        too_long = len(block_id.encode("utf-8")) > MAX_BLOCK_ID
    except UnicodeEncodeError:
        raise UsageError("a block id holds half a surrogate pair") from None
    if too_long:
        raise UsageError(f"a block id has at most {MAX_BLOCK_ID} bytes")
    if memoryview(data).nbytes > MAX_BLOCK:
        raise RefusedError("a model block has at most 1 GiB", "encrypt it as a file")
    envelope_id, nonce = os.urandom(_ID_LENGTH), os.urandom(_NONCE_LENGTH)
    with SecretBuffer.random() as block_key:
        wrapped = wrap_key(managed_key, block_key.view, _context(key_id, generation, envelope_id))
        head = BlockHead(key_id, generation, block_id, envelope_id, wrapped).encode()
        return head + nonce + AESGCMSIV(block_key.view).encrypt(nonce, data, head)


def read_block_head(envelope: bytes | memoryview) -> tuple[BlockHead, int]:
    """Return the head of an envelope, not authenticated, and its length in bytes.

    Raises IntegrityError when the bytes are not an envelope or were cut off.
    """
    view = memoryview(envelope)
    if bytes(view[:4]) != MAGIC:
        raise IntegrityError("this is not a model block")
    key_id = _part(view, 5, _byte(view, 4))
    at = 5 + len(key_id)
    generation, id_length = struct.unpack(">IH", _part(view, at, 6))
    block_id = _part(view, at + 6, id_length)
    at += 6 + id_length
    envelope_id, wrapped = _part(view, at, _ID_LENGTH), _part(view, at + _ID_LENGTH, _WRAPPED_LENGTH)
    head = BlockHead(_key_id(key_id), generation, _text(block_id), envelope_id, wrapped)
    return head, at + _ID_LENGTH + _WRAPPED_LENGTH


def open_block(envelope: bytes | memoryview, managed_key: memoryview) -> bytes:
    """Decrypt an envelope; return the block's plaintext.

    Raises IntegrityError when any part of the envelope was changed or the key is not the one that sealed it.
    """
    view = memoryview(envelope)
    head, at = read_block_head(view)
    if len(view) < at + _NONCE_LENGTH + _TAG_LENGTH:
        raise IntegrityError(_CUT)
    if len(view) > at + _NONCE_LENGTH + MAX_BLOCK + _TAG_LENGTH:
        raise IntegrityError("the model block is longer than any block")
    nonce, sealed = bytes(view[at : at + _NONCE_LENGTH]), view[at + _NONCE_LENGTH :]
    with unwrap_key(managed_key, head.wrapped, head.context()) as block_key:
        try:
            return AESGCMSIV(block_key.view).decrypt(nonce, sealed, bytes(view[:at]))
        except InvalidTag:
            raise IntegrityError("the model block was changed") from None


def _context(key_id: KeyId, generation: int, envelope_id: bytes) -> bytes:
    return wrap_context(_KIND, file_id=envelope_id, model_id=model_of(key_id), key_id=key_id, generation=generation)


def _byte(view: memoryview, at: int) -> int:
    return _part(view, at, 1)[0]


def _part(view: memoryview, at: int, length: int) -> bytes:
    part = bytes(view[at : at + length])
    if len(part) != length:
        raise IntegrityError(_CUT)
    return part


def _key_id(raw: bytes) -> KeyId:
    try:
        text = raw.decode("ascii")
        if parse_key_argument(text).kind is KeyArgumentKind.KEY_ID:
            return KeyId(text)
    except (UnicodeDecodeError, UsageError):
        pass
    raise IntegrityError("the model block names no managed key")


def _text(raw: bytes) -> str:
    if len(raw) > MAX_BLOCK_ID:
        raise IntegrityError("the model block's id is too long")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise IntegrityError("the model block's id is not text") from None
