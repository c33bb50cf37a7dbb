"""The record of one rotation and of the clients that were notified of it.

Each rotation is stored as one record of at most 500 bytes; the answers of the fleet are stored beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.dispatch.distribution_request import (
    ACKNOWLEDGED,
    DELIVERED,
    STATES,
    UNDELIVERABLE,
    KeyDistributionRequest,
)
from tiktrue_keys.core.instants import Instant


@dataclass(frozen=True)
class KeyRotationEvent:
    """A rotation of `old_key_id` to `new_key_id`.

    `notified` are the clients that were named, `undeliverable` those of them that are not nodes; `delivered` and
    `acknowledged` grow as the fleet answers. The clients are stored as rows of their own, so an event has at most 500
    bytes whatever the size of the fleet. A successor that was published ahead is promoted from `promote_at` on, once
    `min_acks` nodes (None: all that were notified) have it; `promote_at` is None for a rotation that took effect at
    once.
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
        """Return the stored payload, without the clients."""
        stored = {name: getattr(self, name) for name in (*_STORED, *_OPTIONAL)}
        return {name: value for name, value in stored.items() if name in _STORED or value is not None}

    @staticmethod
    def from_json(value: dict[str, Any], requests: Sequence[KeyDistributionRequest]) -> KeyRotationEvent:
        """Return the event of a stored payload and of the requests that belong to it."""
        event = KeyRotationEvent(**value)
        by_state = {state: tuple(sorted(item.client for item in requests if item.state == state)) for state in STATES}
        return replace(
            event,
            notified=tuple(sorted(item.client for item in requests)),
            undeliverable=by_state[UNDELIVERABLE],
            delivered=tuple(sorted(by_state[DELIVERED] + by_state[ACKNOWLEDGED])),
            acknowledged=by_state[ACKNOWLEDGED],
        )


_OPTIONAL = ("promote_at", "min_acks")
_STORED = ("old_key_id", "new_key_id", "model_id", "rotated_at", "operation_id")
