"""Parses the header of a safetensors file as strictly as the reference reader. Pure: bytes in, a table out.

A file is: length n of the header, 8 bytes little-endian; n bytes of JSON, starting with `{`; the tensors' bytes. Each
tensor has dtype, shape and data_offsets [begin, end), counted from the end of the header; sorted by offset, the tensors
cover the rest of the file without a hole. `__metadata__` maps strings to strings.

Source: https://github.com/huggingface/safetensors (format).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.errors import IntegrityError

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000  # the limit of the reference reader
_MAX_DIMENSIONS = 64
_MAX_EXTENT = 2**62

BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one element of each dtype."""


@dataclass(frozen=True)
class TensorPlace:
    """One tensor: its dtype as the format spells it, its shape, and where its `size` bytes begin in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def header_length(first: bytes, file_length: int) -> int:
    """Return the header's length from the first 8 bytes. Raises IntegrityError when the file cannot hold it."""
    length = int.from_bytes(first, "little")
    if len(first) != LENGTH_BYTES or not 2 <= length <= min(MAX_HEADER, file_length - LENGTH_BYTES):
        raise IntegrityError("this is not a safetensors file: its header's length is impossible")
    return length


def parse_header(raw: bytes, file_length: int) -> tuple[TensorPlace, ...]:
    """Return the tensors sorted by offset, for a file of `file_length` bytes. Raises IntegrityError when malformed."""
    if raw[:1] != b"{":
        raise IntegrityError("the safetensors header is not a JSON object")
    try:
        members = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise IntegrityError("the safetensors header is malformed") from error
    metadata = members.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise IntegrityError("the safetensors metadata is malformed")
    start = LENGTH_BYTES + len(raw)
    places = [_place(name, value, start) for name, value in members.items()]
    places.sort(key=lambda place: (place.offset, place.size))
    end = start
    for place in places:
        if place.offset != end:
            raise IntegrityError(f"tensor '{place.name[:80]}' does not start where the previous one ends")
        end += place.size
    if end != file_length:
        raise IntegrityError("the length of the safetensors file does not match its header")
    return tuple(places)


def _place(name: str, value: Any, start: int) -> TensorPlace:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise IntegrityError(f"tensor '{name[:80]}' is malformed")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise IntegrityError(f"tensor '{name[:80]}' has an unknown dtype")
    if not _are_extents(shape) or len(shape) > _MAX_DIMENSIONS or not _are_extents(offsets) or len(offsets) != 2:
        raise IntegrityError(f"tensor '{name[:80]}' has a malformed shape or offset")
    size, bits = offsets[1] - offsets[0], BITS[dtype] * math.prod(shape)
    if size < 0 or bits % 8 or bits // 8 != size:
        raise IntegrityError(f"tensor '{name[:80]}' has a size that does not match its shape")
    return TensorPlace(name, dtype, tuple(shape), start + offsets[0], size)


def _are_extents(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_EXTENT for item in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a repeated key")
    return members


def _no_constant(text: str) -> Any:
    raise ValueError(text)
