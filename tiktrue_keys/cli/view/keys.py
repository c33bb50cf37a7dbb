"""Keys and containers as JSON members and as table cells, the same in every command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiktrue_keys.cli.view.outcome import Cell, OnDemand, Table, When
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import duration_text, rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status

if TYPE_CHECKING:
    from tiktrue_keys.core.manager import KeyManager

_FEW = 16  # from about here on, reading the whole registry once is cheaper

KEY_COLUMNS = ("key", "status", "generation", "binding", "expires", "decrypts until", "containers", "labels")
SPARE_KEY_COLUMNS = ("labels", "binding", "decrypts until", "generation", "containers")


def key_json(key: ManagedKey, containers: int) -> dict[str, Any]:
    """Return a member of `result.keys`."""
    return {
        "key_id": key.key_id,
        "model_id": key.model_id,
        "status": key.status.value,
        "generation": key.generation,
        "algorithm": key.algorithm,
        "binding": key.binding,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "decrypt_until": rfc3339(key.decrypt_until),
        "overlap_ends_at": rfc3339(key.overlap_ends_at),
        "rotated_at": rfc3339(key.rotated_at),
        "revoked_at": rfc3339(key.revoked_at),
        "revoke_reason": key.revoke_reason,
        "destroy_at": rfc3339(key.destroy_at),
        "destroyed_at": rfc3339(key.destroyed_at),
        "predecessor": key.predecessor,
        "successor": key.successor,
        "origin": key.origin,
        "license_tag": key.license_tag,
        "containers": containers,
        "labels": dict(key.labels),
        "rotate_every": None if key.rotate_every is None else duration_text(key.rotate_every),
        "rotate_before": None if key.rotate_before is None else duration_text(key.rotate_before),
    }


def key_row(key: ManagedKey, containers: int) -> tuple[Cell, ...]:
    """Return a row under KEY_COLUMNS."""
    return (
        key.key_id,
        key.status.value,
        str(key.generation),
        key.binding,
        When(key.expires_at),
        When(key.decrypt_until),
        str(containers),
        " ".join(f"{name}={value}" for name, value in sorted(key.labels.items())),
    )


def count_containers(manager: KeyManager, keys: Sequence[ManagedKey]) -> Mapping[str, int]:
    """Return how many registered containers each key opens; for a few keys by one query each."""
    if len(keys) <= _FEW:
        return {key.key_id: len(manager.containers(key.key_id)) for key in keys}
    return Counter(key_id for record in manager.containers() for key_id in record.keys)


def keys_json(manager: KeyManager, keys: Sequence[ManagedKey]) -> OnDemand[dict[str, Any]]:
    """Return `result.keys`. The registry is read now, the members are made when they are written."""
    counts = count_containers(manager, keys)
    return OnDemand(lambda: (key_json(key, counts.get(key.key_id, 0)) for key in keys))


def promotions(manager: KeyManager, keys: Iterable[ManagedKey]) -> Mapping[str, str]:
    """Return by key id, for the pending keys among these, from when on each waits for its promotion."""
    pending = {key.key_id for key in keys if key.status is Status.PENDING}
    if not pending:
        return {}
    from tiktrue_keys.fleet.status import fleet_status

    return {
        each.new.key_id: f"waits for promotion from {rfc3339(each.promote_at)}"
        for each in fleet_status(manager).waiting
        if each.new.key_id in pending
    }


def container_json(record: ContainerRecord) -> dict[str, Any]:
    """Return a member of `result.containers`."""
    return {
        "file_id": record.file_id.hex(),
        "path": record.path or None,
        "model_id": record.model_id,
        "name": record.name,
        "keys": sorted(record.keys),
        "last_seen": rfc3339(record.last_seen),
        "piped": record.piped,
        "signer": record.signer or None,
        "archived_at": rfc3339(record.archived_at),
    }


def container_table(records: Iterable[ContainerRecord]) -> Table:
    """Return containers as a table."""
    rows = [
        (
            record.file_id.hex(),
            record.path or "(pipe)",
            record.name,
            " ".join(sorted(record.keys)),
            When(record.last_seen),
        )
        for record in records
    ]
    return Table(("file id", "path", "name", "keys", "last seen"), rows, spare=("last seen", "keys", "name"))
