"""The record of a key: its members as they are stored, and the checks without which none is believed.

Come here when a key gets a member. A record is sealed, so only a holder of the keystore's secret can have written a
wrong one. It is refused all the same, before its members are compared or shown.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from tiktrue_keys.core.canonical import MAX_INTEGER
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.names import MAX_GENERATION, is_key_id, model_of
from tiktrue_keys.errors import IntegrityError

WRAPPED = "wrapped"
_LENGTHS = (0, 60)
_STORED = {field.name: field.default for field in fields(ManagedKey) if field.name != "status"}


def key_record(key: ManagedKey, wrapped: bytes) -> dict[str, Any]:
    """Return the members to store. Those with their default value are left out: the row stays small."""
    payload = {name: value for name, default in _STORED.items() if (value := getattr(key, name)) != default}
    payload["labels"] = dict(key.labels)
    payload[WRAPPED] = base64.b64encode(wrapped).decode()
    return payload


def read_key_record(payload: Mapping[str, Any]) -> tuple[ManagedKey, bytes]:
    """Return the key and its wrapped secret. Raises IntegrityError for a member that is wrong, unknown or missing."""
    members = dict(payload)
    try:
        wrapped = base64.b64decode(members.pop(WRAPPED), validate=True)
        wrong = next((name for name, value in members.items() if not _HOLDS[name](value)), None)
        if wrong is None and len(wrapped) in _LENGTHS and members["model_id"] == model_of(members["key_id"]):
            return ManagedKey(**members | {"labels": MappingProxyType(members["labels"])}), wrapped
    except (TypeError, ValueError, KeyError) as error:
        raise IntegrityError("a key record is malformed") from error
    raise IntegrityError(f"a key record is malformed{f': {wrong}' if wrong else ''}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_key_id(value: object) -> bool:
    return isinstance(value, str) and is_key_id(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _is_generation(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_GENERATION


def _is_labels(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for item in value.items() for text in item)


def _or_null(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or holds(value)


_HOLDS: Mapping[str, Callable[[object], bool]] = {
    "key_id": _is_key_id,
    "model_id": _is_text,
    "generation": _is_generation,
    "created_at": _is_whole,
    "expires_at": _is_whole,
    "decrypt_until": _is_whole,
    "license_tag": _or_null(_is_text),
    "predecessor": _or_null(_is_key_id),
    "successor": _or_null(_is_key_id),
    "pending": _is_flag,
    "rotated_at": _or_null(_is_whole),
    "rotate_every": _or_null(_is_whole),
    "rotate_before": _or_null(_is_whole),
    "overlap_ends_at": _or_null(_is_whole),
    "revoked_at": _or_null(_is_whole),
    "revoke_reason": _or_null(_is_text),
    "destroy_at": _or_null(_is_whole),
    "destroyed_at": _or_null(_is_whole),
    "exported": _is_flag,
    "fingerprint": _is_text,
    "labels": _is_labels,
    "audit_number": _is_whole,
    "origin": _or_null(_is_text),
    "origin_epoch": _is_whole,
    "promoted_at": _or_null(_is_whole),
}
