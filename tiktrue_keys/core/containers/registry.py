"""The registry of containers as records: which keys open a container, and where it was last seen.

Come here for the containers of a key; models/registry reads the files themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.errors import RefusedError

ALL_CONTAINERS = Owner(RecordKind.CONTAINER, "all")
MAX_WRAPS = 64


def get_container(rows: Rows, file_id: bytes) -> ContainerRecord | None:
    """Return the registry row of a container, or None."""
    payload = rows.get(RecordKind.CONTAINER, file_id.hex())
    return None if payload is None else _container_of(payload)


def all_containers(rows: Rows) -> tuple[ContainerRecord, ...]:
    """Return every registered container, sorted by path."""
    found = (_container_of(payload) for payload in rows.owned_by(RecordKind.CONTAINER, ALL_CONTAINERS))
    return tuple(sorted(found, key=lambda record: (record.path, record.file_id)))


def every_container(rows: Rows) -> list[ContainerRecord]:
    """Return every registered container from a full pass, which detects a hidden row.

    Destruction uses it, because it must not miss a container that needs a key.
    """
    return [_container_of(payload) for payload in rows.scan(RecordKind.CONTAINER)]


def containers_of(rows: Rows, key_id: str) -> tuple[ContainerRecord, ...]:
    """Return the registered containers that a key opens, sorted by path."""
    wrappings = rows.owned_by(RecordKind.WRAPPING, Owner(RecordKind.KEY, key_id))
    found = (get_container(rows, bytes.fromhex(wrapping["file_id"])) for wrapping in wrappings)
    return tuple(sorted((record for record in found if record), key=lambda record: (record.path, record.file_id)))


def put_container(transaction: Transaction, record: ContainerRecord) -> None:
    """Write a registry row and the links from its keys. Raises RefusedError for more than 64 keys."""
    if len(record.keys) > MAX_WRAPS:
        raise RefusedError(f"a container has at most {MAX_WRAPS} keys, not {len(record.keys)}")
    known = get_container(transaction.rows, record.file_id)
    file_id = record.file_id.hex()
    for key_id in (known.keys if known else frozenset()) - record.keys:
        transaction.rows.delete(RecordKind.WRAPPING, f"{key_id} {file_id}")
    for key_id in record.keys - (known.keys if known else frozenset()):
        link = {"key_id": key_id, "file_id": file_id}
        transaction.rows.put(RecordKind.WRAPPING, f"{key_id} {file_id}", link, Owner(RecordKind.KEY, key_id))
    transaction.rows.put(RecordKind.CONTAINER, file_id, _container_json(record), ALL_CONTAINERS)


def delete_container(transaction: Transaction, record: ContainerRecord) -> None:
    """Remove a registry row and the links from its keys."""
    for key_id in record.keys:
        transaction.rows.delete(RecordKind.WRAPPING, f"{key_id} {record.file_id.hex()}")
    transaction.rows.delete(RecordKind.CONTAINER, record.file_id.hex())


def _container_json(record: ContainerRecord) -> dict[str, Any]:
    return {
        "file_id": record.file_id.hex(),
        "path": record.path,
        "model_id": record.model_id,
        "name": record.name,
        "keys": sorted(record.keys),
        "last_seen": record.last_seen,
        "piped": record.piped,
        "signed": record.signed,
    }


def _container_of(payload: dict[str, Any]) -> ContainerRecord:
    return ContainerRecord(
        bytes.fromhex(payload["file_id"]),
        payload["path"],
        payload["model_id"],
        payload["name"],
        frozenset(payload["keys"]),
        payload["last_seen"],
        payload["piped"],
        payload["signed"],
    )


@dataclass(frozen=True)
class ContainerRecord:
    """A registered container: which keys open it, and where it was last seen. `file_id` has 16 bytes.

    `signed` says that it once carried this keystore's signature; a file without one is not that container any more.
    """

    file_id: bytes
    path: str
    model_id: str
    name: str
    keys: frozenset[str]
    last_seen: Instant
    piped: bool = False
    signed: bool = False
