"""What one rotation was, and which clients were told of it. Stored as one record a rotation; at most 500 bytes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tiktrue_keys.core.instants import Instant


@dataclass(frozen=True)
class KeyRotationEvent:
    """A rotation of `old_key_id`; `new_key_id` is None when it failed and the old key stayed as it was.

    `notified` are the clients that were named, `undeliverable` those of them that are no node; `delivered` and
    `acknowledged` grow as the fleet answers.
    """

    old_key_id: str
    new_key_id: str | None
    model_id: str
    rotated_at: Instant
    operation_id: str
    outcome: str = "ok"
    notified: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    acknowledged: tuple[str, ...] = ()
    undeliverable: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The stored payload."""
        members = ((name, getattr(self, name)) for name in _NAMES)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in members}

    @staticmethod
    def from_json(value: dict[str, Any]) -> KeyRotationEvent:
        """The event of a stored payload."""
        members: dict[str, Any] = {
            name: tuple(part) if isinstance(part, list) else part for name, part in value.items()
        }
        return KeyRotationEvent(**members)


_NAMES = tuple(field.name for field in fields(KeyRotationEvent))
