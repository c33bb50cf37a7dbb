"""Canonical bytes: JSON with exactly one spelling, and length-prefixed joins for associated data.

Use it for whatever is signed, authenticated or hashed. The JSON is the subset of RFC 8785 without floating point:
objects with string keys sorted by code point, arrays, strings, integers within 53 bits, true, false, null; no white
space; UTF-8. Parsing refuses any text that encoding does not produce.
"""

from __future__ import annotations

import json
from typing import Any

from tiktrue_keys.errors import IntegrityError, InternalError

MAX_INTEGER = 2**53 - 1
_MAX_DEPTH = 16

# Built once: with these arguments json.dumps builds an encoder for every call, which is half of its cost.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def _no_float(text: str) -> Any:
    raise ValueError(text)


_decode = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float).decode
_decode_record = json.JSONDecoder().decode


def canonical_json(value: Any) -> bytes:
    """Return `value` (dict, list, str, int, bool, None) in its canonical encoding.

    Raises InternalError for a value that parsing would refuse.
    """
    if not _within_limits(value, _MAX_DEPTH):
        raise InternalError("a value has no canonical spelling")
    return _encode(value).encode("utf-8")


def record_json(value: dict[str, Any]) -> bytes:
    """Return the JSON of a sealed record's payload, without the checks of canonical_json.

    A record is parsed only after its seal is verified. File names that are not UTF-8 keep the bytes that the operating
    system gave (surrogateescape).
    """
    return _encode(value).encode("utf-8", "surrogateescape")


def parse_record_json(data: bytes) -> dict[str, Any]:
    """Return the payload that record_json encoded. Raises IntegrityError when it is not an object in JSON."""
    try:
        payload = _decode_record(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise IntegrityError("a record's payload is not valid JSON") from error
    if not isinstance(payload, dict):
        raise IntegrityError("a record's payload is not an object")
    return payload


def parse_canonical(data: bytes | memoryview, *, limit: int, what: str) -> dict[str, Any]:
    """Return the object that `data` encodes as canonical JSON of at most `limit` bytes.

    Raises IntegrityError naming `what` when the bytes are too long, malformed, hold a float or a repeated key, or are
    not the canonical spelling of their value.
    """
    value = parse_unproven(data, limit=limit, what=what)
    try:
        again = _encode(value).encode("utf-8")
    except (ValueError, RecursionError, UnicodeError) as error:
        raise IntegrityError(f"{what} is not valid JSON") from error
    if again != bytes(data) or not _within_limits(value, _MAX_DEPTH):
        raise IntegrityError(f"{what} is not canonical JSON")
    return value


def parse_unproven(data: bytes | memoryview, *, limit: int, what: str) -> dict[str, Any]:
    """Return the object that `data` encodes as JSON of at most `limit` bytes, canonical or not.

    For a caller that checks the members, encodes them again with `encode_checked` and compares the bytes. Raises
    IntegrityError naming `what` when the bytes are too long, malformed or hold a float.
    """
    if len(data) > limit:
        raise IntegrityError(f"{what} is longer than {limit} bytes")
    try:
        value = _decode(bytes(data).decode("utf-8"))
    except (ValueError, RecursionError, UnicodeError) as error:
        raise IntegrityError(f"{what} is not valid JSON") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is not canonical JSON")
    return value


def encode_checked(value: dict[str, Any]) -> bytes:
    """Return the canonical encoding of a value whose strings, numbers and depth the caller has checked."""
    return _encode(value).encode("utf-8")


def joined(*parts: bytes) -> bytes:
    """Return the byte strings joined unambiguously: each one after its length as 4 bytes, big-endian."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _within_limits(value: Any, depth: int) -> bool:
    if depth == 0:
        return False
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return True
    if isinstance(value, int):
        return -MAX_INTEGER <= value <= MAX_INTEGER
    if isinstance(value, list):
        return all(_within_limits(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return all(_within_limits(item, depth - 1) for item in value.values())
    return False
