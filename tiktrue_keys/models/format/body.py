"""The body of a container: Google Tink's streaming AEAD `AES256_GCM_HKDF_1MB`, byte for byte. Pure; no files.

    body      = header | segment 0 | segment 1 | …
    header    = 0x28 (its own length, 40) | salt 32 | nonce prefix 7
    segment i = AES-256-GCM(segment key, nonce = prefix | i as uint32 big-endian | 1 if last else 0) with a 16-byte tag

Segment key = HKDF-SHA256(data key, salt, info = associated data, 32 bytes); segments have no associated data of their
own. Associated data = `tiktrue-model/1` | file id (16 bytes). The header with segment 0, and every later segment except
the last, take exactly the segment size (1 MiB), so segment i ends at offset (i + 1) * 1 MiB of the body. The last
segment holds at least one byte of plaintext. An empty plaintext is the exception: one segment that is only a tag.

Source: https://developers.google.com/tink/streaming-aead and tink-java's AesGcmHkdfStreaming. Tink also accepts an
empty last segment after full ones. This reader does not, so a plaintext length determines the ciphertext length.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tiktrue_keys.core.derivation import MODEL_BODY, hkdf
from tiktrue_keys.errors import IntegrityError, RefusedError

SEGMENT_SIZE = 1 << 20
TAG_LENGTH = 16
SALT_LENGTH = 32
PREFIX_LENGTH = 7
BODY_HEADER_LENGTH = 1 + SALT_LENGTH + PREFIX_LENGTH
MAX_SEGMENTS = 1 << 21
"""2 TiB of body. Tink's counter allows 2^32; at 2^21 the leaves of the tree (32 bytes each) still fit in 64 MiB."""

_LEAST_SEGMENT_SIZE = BODY_HEADER_LENGTH + TAG_LENGTH + 1


def associated_data(file_id: bytes) -> bytes:
    """Return the associated data that a body is bound to. Tink needs it to open a body."""
    return MODEL_BODY + file_id


@dataclass(frozen=True)
class Segment:
    """The position of segment `index` in the body (ciphertext with its tag) and in the plaintext, in bytes."""

    index: int
    last: bool
    body_offset: int
    body_length: int
    plain_offset: int

    @property
    def plain_length(self) -> int:
        return self.body_length - TAG_LENGTH


@dataclass(frozen=True)
class Geometry:
    """The division of a plaintext into segments of `segment_size` bytes of ciphertext."""

    segment_size: int = SEGMENT_SIZE

    def __post_init__(self) -> None:
        if self.segment_size < _LEAST_SEGMENT_SIZE:
            raise IntegrityError(f"a segment size of {self.segment_size} bytes leaves no room for data")

    def full_body_length(self, index: int) -> int:
        """Return the ciphertext bytes of segment `index` when another one follows it."""
        return self.segment_size - (BODY_HEADER_LENGTH if index == 0 else 0)

    def full_plain_length(self, index: int) -> int:
        """Return the plaintext bytes of segment `index` when another one follows it."""
        return self.full_body_length(index) - TAG_LENGTH

    def plain_offset(self, index: int) -> int:
        """Return the offset in the plaintext at which segment `index` begins."""
        return index * (self.segment_size - TAG_LENGTH) - (BODY_HEADER_LENGTH if index else 0)

    def segment_count(self, plain_length: int) -> int:
        """Return the number of segments of a plaintext of `plain_length` bytes."""
        return -(-(plain_length + BODY_HEADER_LENGTH) // (self.segment_size - TAG_LENGTH))

    def body_length(self, plain_length: int) -> int:
        """Return the length in bytes of the body for a plaintext of `plain_length` bytes."""
        return BODY_HEADER_LENGTH + plain_length + TAG_LENGTH * self.segment_count(plain_length)

    @property
    def max_plain_length(self) -> int:
        """Return the bytes of the longest plaintext that a body can have."""
        return MAX_SEGMENTS * (self.segment_size - TAG_LENGTH) - BODY_HEADER_LENGTH

    def segment(self, index: int, plain_length: int) -> Segment:
        """Return segment `index` of a plaintext of `plain_length` bytes."""
        last = index == self.segment_count(plain_length) - 1
        start = self.plain_offset(index)
        length = plain_length - start + TAG_LENGTH if last else self.full_body_length(index)
        return Segment(index, last, max(BODY_HEADER_LENGTH, index * self.segment_size), length, start)

    def index_at(self, plain_offset: int) -> int:
        """Return the index of the segment that holds the plaintext byte at `plain_offset`."""
        return (plain_offset + BODY_HEADER_LENGTH) // (self.segment_size - TAG_LENGTH)


def check_segment_count(count: int) -> None:
    """Raises RefusedError when a body would have more segments than the format allows."""
    if count > MAX_SEGMENTS:
        raise RefusedError(
            f"the model is larger than {MAX_SEGMENTS * SEGMENT_SIZE >> 40} TiB", "split it into several files"
        )


@dataclass(frozen=True)
class BodyHeader:
    """The 40 clear bytes before the first segment: `salt` (32 bytes) and nonce `prefix` (7 bytes)."""

    salt: bytes
    prefix: bytes

    @classmethod
    def fresh(cls) -> BodyHeader:
        """Return a header with random salt and prefix. The salt gives each body its own segment key."""
        return cls(os.urandom(SALT_LENGTH), os.urandom(PREFIX_LENGTH))

    @classmethod
    def decode(cls, data: bytes) -> BodyHeader:
        """Decode the first 40 bytes of a body. Raises IntegrityError when they are not a body header."""
        if len(data) != BODY_HEADER_LENGTH or data[0] != BODY_HEADER_LENGTH:
            raise IntegrityError("the encrypted body does not start with a header")
        return cls(data[1 : 1 + SALT_LENGTH], data[1 + SALT_LENGTH :])

    def encode(self) -> bytes:
        return bytes([BODY_HEADER_LENGTH]) + self.salt + self.prefix


class BodyCipher:
    """Seals and opens segments of one body in the caller's buffers. Thread-safe."""

    def __init__(self, data_key: memoryview, file_id: bytes, header: BodyHeader) -> None:
        self.header = header
        with hkdf(data_key, salt=header.salt, info=associated_data(file_id)) as key:
            self._cipher = AESGCM(key.view)

    def seal(self, index: int, last: bool, plaintext: memoryview, ciphertext: memoryview) -> None:
        """Seal `plaintext` into `ciphertext`, which is 16 bytes longer and shares no memory with it."""
        self._cipher.encrypt_into(self._nonce(index, last), plaintext, None, ciphertext)

    def open(self, index: int, last: bool, ciphertext: memoryview, plaintext: memoryview) -> None:
        """Open `ciphertext` into `plaintext`, which is 16 bytes shorter.

        Raises IntegrityError when the tag is wrong. decrypt_into then leaves unverified plaintext in the buffer, so the
        buffer is zeroed first.
        """
        try:
            self._cipher.decrypt_into(self._nonce(index, last), ciphertext, None, plaintext)
        except InvalidTag:
            plaintext[:] = bytes(len(plaintext))
            raise IntegrityError(
                f"segment {index} of the encrypted body was changed, or the data key belongs to another container"
            ) from None

    def _nonce(self, index: int, last: bool) -> bytes:
        return self.header.prefix + index.to_bytes(4, "big") + (b"\x01" if last else b"\x00")
