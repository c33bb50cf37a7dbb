"""A container's header: an immutable value and its canonical JSON. Pure.

The file's layout is in format/header_slots.py.

The JSON is canonical (core/canonical.py) with exactly these members:

    file_id       32 lower-case hex digits: 16 random bytes that name the container
    kind          "safetensors" | "gguf" | "onnx" | "other"
    length        bytes of plaintext, or null when the body went into a pipe (the trailer then has the length)
    model_id      the model it belongs to
    name          the plaintext file's own name, without folders; 1 to 255 bytes, not "." or "..", and none of U+0000
                  to U+001F, U+007F to U+009F, "/", "\\", U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069
    origin        "keystore": sealed and signed by the keystore that holds its key · "recipient": sealed to a public key
    segment_size  1048576; a field so that a later version can allow others
    wraps         1 to 64 objects, sorted by key_id, one for each key, all of them keys of the model:
                    type        "managed-key": AES-256-GCM-SIV under the managed key, 60 bytes · "hpke"
                    key_id, generation   of the managed key (1 to 2^31 - 1)
                    wrapped     the wrapped data key in base64 (RFC 4648 section 4, padded)

A missing or additional member, another spelling or another order is refused. The signature is in the trailer, not here,
so that a rewrap keeps it and it can be added later. Trust nothing here before the slot's HMAC has been verified
(format/header_slots.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Any

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.core.names import (
    MAX_GENERATION,
    KeyId,
    is_key_id,
    model_of,
    parse_model_id,
)
from tiktrue_keys.errors import IntegrityError, RefusedError, UsageError
from tiktrue_keys.models.format.body import SEGMENT_SIZE, Geometry
from tiktrue_keys.models.format.kind import Kind

SUFFIX = ".ttm"
FILE_ID_LENGTH = 16
MAX_WRAPS = 64
MAX_NAME_BYTES = 255
SEGMENT_SIZES = frozenset({SEGMENT_SIZE})
"""The segment sizes that version 1 accepts. Functions take another set only so that tests can make small containers."""

# A fixed list and not the Unicode category: that depends on the interpreter's version, and what one reader takes for a
# control character must not be a letter to another. Slashes, C0, C1, bidirectional controls, lone surrogates.
_UNSAFE = re.compile("[/\\\\\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_WHAT = "the container's header"


class Origin(str, Enum):
    """The kind of party that sealed the container."""

    KEYSTORE = "keystore"
    RECIPIENT = "recipient"


class WrapType(str, Enum):
    """How a data key is wrapped."""

    MANAGED_KEY = "managed-key"
    HPKE = "hpke"


WRAP_LENGTHS = {WrapType.MANAGED_KEY: 60, WrapType.HPKE: 1168}
"""Nonce 12, data key 32, tag 16; X-Wing's enc 1120, then data key and tag."""


@dataclass(frozen=True)
class Wrap:
    """The data key, wrapped for one generation of one managed key."""

    type: WrapType
    key_id: str
    generation: int
    wrapped: bytes

    def __post_init__(self) -> None:
        if len(self.wrapped) != WRAP_LENGTHS[self.type]:
            raise IntegrityError(f"{_WHAT} has a wrapped key of {len(self.wrapped)} bytes")
        if not 1 <= self.generation <= MAX_GENERATION or not is_key_id(self.key_id):
            raise IntegrityError(f"{_WHAT} names no managed key in a wrap")


@dataclass(frozen=True)
class Header:
    """One state of a container's header; `file_id` is 16 bytes, `length` bytes of plaintext or None (from a pipe)."""

    file_id: bytes
    model_id: str
    name: str
    kind: Kind
    length: int | None
    origin: Origin
    wraps: tuple[Wrap, ...]
    segment_size: int = SEGMENT_SIZE

    def __post_init__(self) -> None:
        if len(self.file_id) != FILE_ID_LENGTH:
            raise IntegrityError(f"{_WHAT} has a malformed file id")
        if not is_model_id(self.model_id):
            raise IntegrityError(f"{_WHAT} has a malformed model id")
        if self.name != safe_name(self.name):
            raise IntegrityError(f"{_WHAT} has an invalid file name")
        if self.length is not None and not 0 <= self.length <= Geometry(self.segment_size).max_plain_length:
            raise IntegrityError(f"{_WHAT} has an impossible length")
        if not self.wraps:
            raise IntegrityError(f"{_WHAT} has no wrapped key")
        if any(a.key_id >= b.key_id for a, b in pairwise(self.wraps)):
            raise IntegrityError(f"{_WHAT} has its wraps in the wrong order, or two of them for one key")
        if any(model_of(KeyId(wrap.key_id)) != self.model_id for wrap in self.wraps):
            raise IntegrityError(f"{_WHAT} has a wrap for a key of another model")
        if len(self.wraps) > MAX_WRAPS:
            raise RefusedError(f"a container cannot have more than {MAX_WRAPS} wrapped keys")

    @property
    def key_ids(self) -> frozenset[str]:
        """Return the ids of the keys that open the container."""
        return frozenset(wrap.key_id for wrap in self.wraps)

    def with_wraps(self, wraps: tuple[Wrap, ...]) -> Header:
        """Return this header with other wraps, given in any order."""
        return replace(self, wraps=sorted_wraps(wraps))

    def with_length(self, length: int) -> Header:
        """Return this header with its plaintext length in bytes."""
        return replace(self, length=length)

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(
            {
                "file_id": self.file_id.hex(),
                "kind": self.kind.value,
                "length": self.length,
                "model_id": self.model_id,
                "name": self.name,
                "origin": self.origin.value,
                "segment_size": self.segment_size,
                "wraps": [_wrap_to_json(wrap) for wrap in self.wraps],
            }
        )

    @classmethod
    def decode(cls, data: bytes, *, limit: int, segment_sizes: frozenset[int] = SEGMENT_SIZES) -> Header:
        """Decode at most `limit` bytes of JSON. Raises IntegrityError for anything that `encode` would not write."""
        members = Members.parse(data, limit=limit, what=_WHAT)
        header = cls(
            file_id=members.hexadecimal("file_id", FILE_ID_LENGTH),
            model_id=members.any_text("model_id"),
            name=members.any_text("name", MAX_NAME_BYTES),
            kind=members.choice("kind", Kind),
            length=members.whole_or_none("length"),
            origin=members.choice("origin", Origin),
            wraps=tuple(_wrap(each) for each in members.objects("wraps", MAX_WRAPS)),
            segment_size=members.whole("segment_size"),
        )
        members.done()
        if header.segment_size not in segment_sizes:
            raise IntegrityError(
                f"{_WHAT} asks for segments of {header.segment_size} bytes",
                f"this version of the format has segments of {SEGMENT_SIZE} bytes",
            )
        return header


def sorted_wraps(wraps: tuple[Wrap, ...]) -> tuple[Wrap, ...]:
    """Return `wraps` in the order that a header requires."""
    return tuple(sorted(wraps, key=lambda wrap: wrap.key_id))


def new_file_id() -> bytes:
    """Return a new file id: 16 random bytes."""
    return os.urandom(FILE_ID_LENGTH)


def safe_name(text: str) -> str:
    """Return `text`, a file name without folders, as a name that a header may hold.

    Unsafe characters become "_", the name is cut at 255 bytes, and `.`, `..` and the empty name become "model".
    """
    cleaned = _UNSAFE.sub("_", text).encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", "ignore")
    return "model" if cleaned in ("", ".", "..") else cleaned


def is_model_id(text: str) -> bool:
    """Return whether `text` is a valid model id."""
    try:
        return bool(parse_model_id(text))
    except UsageError:
        return False


def _wrap_to_json(wrap: Wrap) -> dict[str, Any]:
    return {
        "generation": wrap.generation,
        "key_id": wrap.key_id,
        "type": wrap.type.value,
        "wrapped": encoded(wrap.wrapped),
    }


def _wrap(members: Members) -> Wrap:
    kind = members.choice("type", WrapType)
    wrap = Wrap(
        kind,
        members.any_text("key_id"),
        members.whole("generation", 1, MAX_GENERATION),
        members.octets("wrapped", WRAP_LENGTHS[kind]),
    )
    members.done()
    return wrap
