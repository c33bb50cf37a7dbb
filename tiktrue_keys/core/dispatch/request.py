"""A request to bring a key to a client: made by whoever rotates with names to notify, answered by the fleet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tiktrue_keys.core.instants import Instant

UNDELIVERABLE = "undeliverable"
QUEUED = "queued"
DELIVERED = "delivered"
ACKNOWLEDGED = "acknowledged"
REFUSED = "refused"
STATES = (UNDELIVERABLE, QUEUED, DELIVERED, ACKNOWLEDGED, REFUSED)


@dataclass(frozen=True)
class KeyDistributionRequest:
    """`client` shall receive `key_id`.

    `state` is `undeliverable` while the client is no node of this keystore; else `queued` in the outbox, `delivered` to
    the transport, `acknowledged` by the node, or `refused` by it.
    """

    key_id: str
    client: str
    requested_at: Instant
    operation_id: str
    state: str = UNDELIVERABLE

    def to_json(self) -> dict[str, Any]:
        """The stored payload."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> KeyDistributionRequest:
        """The request of a stored payload."""
        return KeyDistributionRequest(**value)
