"""Registered containers that a rotation has left behind: their best key does not encrypt any more.

Come here for what `rotate --due` tries again and status shows. An archived container and one that was written to a
pipe are left out: nothing here can reach them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tiktrue_keys.core.containers.registry import ContainerRecord, all_containers
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keystore.rows import Rows

BEHIND = (Status.ROTATING, Status.DEPRECATED)
_BEST_FIRST = (
    Status.ACTIVE,
    Status.PENDING,
    Status.ROTATING,
    Status.EXPIRED,
    Status.DEPRECATED,
    Status.REVOKED,
    Status.DESTROYED,
)


def keys_of_containers(rows: Rows, containers: Iterable[ContainerRecord], now: Instant) -> dict[str, ManagedKey]:
    """Return the keys that containers need and that this keystore holds, by id."""
    found = {}
    for key_id in {key_id for record in containers for key_id in record.keys}:
        stored = get_key(rows, key_id, now)
        if stored is not None:
            found[key_id] = stored.key
    return found


def best_key(record: ContainerRecord, keys: Mapping[str, ManagedKey]) -> ManagedKey | None:
    """Return the key that opens a container with the fewest reservations; None where none is held."""
    held = [keys[key_id] for key_id in record.keys if key_id in keys]
    return min(held, key=lambda key: _BEST_FIRST.index(key.status), default=None)


def is_watched(record: ContainerRecord) -> bool:
    """Return whether a container is expected to follow the rotations of its keys."""
    return not record.piped and record.archived_at is None


def lagging_containers(rows: Rows, now: Instant) -> tuple[ContainerRecord, ...]:
    """Return the watched containers whose best key is rotating or deprecated, sorted by path."""
    containers = [record for record in all_containers(rows) if is_watched(record)]
    keys = keys_of_containers(rows, containers, now)
    best = ((record, best_key(record, keys)) for record in containers)
    return tuple(record for record, key in best if key is not None and key.status in BEHIND)
