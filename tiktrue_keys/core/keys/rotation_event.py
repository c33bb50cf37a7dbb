"""What one rotation was, and which clients were told of it. Stored as one record a rotation; at most 500 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.dispatch.request import ACKNOWLEDGED, DELIVERED, STATES, UNDELIVERABLE, KeyDistributionRequest
from tiktrue_keys.core.instants import Instant


@dataclass(frozen=True)
class KeyRotationEvent:
    """A rotation of `old_key_id` to `new_key_id`.

    `notified` are the clients that were named, `undeliverable` those of them that are no node; `delivered` and
    `acknowledged` grow as the fleet answers. They are rows of their own: one event has 500 bytes, whatever the fleet.
    A successor that was published ahead is promoted from `promote_at` on, once `min_acks` nodes (None: all that were
    notified) have it; `promote_at` is None for a rotation that was in force at once.
    """

    old_key_id: str
    new_key_id: str
    model_id: str
    rotated_at: Instant
    operation_id: str
    promote_at: Instant | None = None
    min_acks: int | None = None
    notified: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    acknowledged: tuple[str, ...] = ()
    undeliverable: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The stored payload, without the clients."""
        stored = {name: getattr(self, name) for name in (*_STORED, *_OPTIONAL)}
        return {name: value for name, value in stored.items() if name in _STORED or value is not None}

    @staticmethod
    def from_json(value: dict[str, Any], requests: Sequence[KeyDistributionRequest]) -> KeyRotationEvent:
        """The event of a stored payload and the requests that came with it."""
        event = KeyRotationEvent(**value)
        by_state = {state: tuple(sorted(each.client for each in requests if each.state == state)) for state in STATES}
        return replace(
            event,
            notified=tuple(sorted(each.client for each in requests)),
            undeliverable=by_state[UNDELIVERABLE],
            delivered=tuple(sorted(by_state[DELIVERED] + by_state[ACKNOWLEDGED])),
            acknowledged=by_state[ACKNOWLEDGED],
        )


_OPTIONAL = ("promote_at", "min_acks")
_STORED = ("old_key_id", "new_key_id", "model_id", "rotated_at", "operation_id")
