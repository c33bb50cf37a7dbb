"""A request to deliver a key to a client, and the states of its delivery.

A rotation with clients to notify creates the requests; the fleet answers them.
"""

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
    """The request that `client` receive `key_id`.

    `state` is `undeliverable` while the client is not a node of this keystore; else `queued` in the outbox, `delivered`
    to the transport, `acknowledged` by the node, or `refused` by it.
    """

    key_id: str
    client: str
    requested_at: Instant
    operation_id: str
    state: str = UNDELIVERABLE

    def to_json(self) -> dict[str, Any]:
        """Return the stored payload."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> KeyDistributionRequest:
        """Return the request of a stored payload."""
        return KeyDistributionRequest(**value)
