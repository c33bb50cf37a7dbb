"""The registry of containers as records: which keys open a container, and where it was last seen.

A container has a row for each location, because each copy of it needs its keys. Come here for the containers of a key;
models/registry reads the files themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError

ALL_CONTAINERS = Owner(RecordKind.CONTAINER, "all")
MAX_WRAPS = 64
MAX_LOCATIONS = 256
_OF_THE_OPERATOR = ("archived_at",)
"""Members that describe no file: they stay when a row is brought up to date."""


def locations_of(rows: Rows, file_id: bytes) -> tuple[ContainerRecord, ...]:
    """Return the registered locations of a container; a copy has a location of its own."""
    return tuple(_container_of(payload) for payload in _payloads(rows, file_id))


def registered_at(rows: Rows, file_id: bytes, location: str | None) -> list[ContainerRecord]:
    """Return the rows of a container, or the one at `location`. Raises NotFoundError if there is none."""
    known = locations_of(rows, file_id)
    named = [record for record in known if location is None or record.path == location]
    if not named:
        where = f" at {shown(location)}" if known and location is not None else ""
        raise NotFoundError(
            f"container {file_id.hex()} is not registered{where}",
            "list them with containers()",
            remedy="list-containers",
        )
    return named


def get_container(rows: Rows, file_id: bytes, path: str | None = None) -> ContainerRecord | None:
    """Return the row of a container at `path`, or its first row; None when there is none."""
    found = locations_of(rows, file_id)
    return next((record for record in found if path is None or record.path == path), None)


def all_containers(rows: Rows) -> tuple[ContainerRecord, ...]:
    """Return every registered location of every container, sorted by path."""
    found = (_container_of(payload) for payload in rows.owned_by(RecordKind.CONTAINER, ALL_CONTAINERS))
    return tuple(sorted(found, key=lambda record: (record.path, record.file_id)))


def every_container(rows: Rows) -> list[ContainerRecord]:
    """Return every registered location from a full pass, which detects a hidden row.

    Destruction uses it, because it must not miss a container that needs a key.
    """
    return [_container_of(payload) for payload in rows.scan(RecordKind.CONTAINER)]


def containers_of(rows: Rows, key_id: str) -> tuple[ContainerRecord, ...]:
    """Return the registered locations that a key opens, sorted by path."""
    wrappings = rows.owned_by(RecordKind.WRAPPING, Owner(RecordKind.KEY, key_id))
    found = (record for wrapping in wrappings for record in locations_of(rows, bytes.fromhex(wrapping["file_id"])))
    return tuple(
        sorted((record for record in found if key_id in record.keys), key=lambda record: (record.path, record.file_id))
    )


def put_container(transaction: Transaction, record: ContainerRecord, *, was: str | None = None) -> None:
    """Write the row of a container at its path, and the links from its keys; `was` is the path of the row to move.

    Raises RefusedError for more than 64 keys or 256 locations.
    """
    if len(record.keys) > MAX_WRAPS:
        raise RefusedError(f"a container has at most {MAX_WRAPS} keys, not {len(record.keys)}")
    stored = _payloads(transaction.rows, record.file_id)
    paths = [payload["path"] for payload in stored]
    if was in paths and was != record.path and record.path in paths:
        del stored[paths.index(was)]  # the row that is moved takes the place of the one that is there
        paths = [payload["path"] for payload in stored]
    place = was if was in paths else record.path
    if place in paths:
        replaced = stored[paths.index(place)]
        kept = {name: replaced[name] for name in _OF_THE_OPERATOR if name in replaced}
        stored[paths.index(place)] = kept | _container_json(record)
    elif len(stored) >= MAX_LOCATIONS:
        raise RefusedError(f"a container has at most {MAX_LOCATIONS} registered locations")
    else:
        stored.append(_container_json(record))
    _write(transaction, record.file_id, stored)


def archive_container(transaction: Transaction, record: ContainerRecord, at: Instant | None) -> None:
    """Mark the row of a container at its path as archived since `at`; None unmarks it."""
    stored = _payloads(transaction.rows, record.file_id)
    for payload in stored:
        if payload["path"] == record.path:
            payload.pop("archived_at", None)
            payload |= {} if at is None else {"archived_at": at}
    _write(transaction, record.file_id, stored)


def delete_container(transaction: Transaction, record: ContainerRecord) -> None:
    """Remove the row of a container at its path, and the links from keys that open it nowhere else."""
    stored = _payloads(transaction.rows, record.file_id)
    _write(transaction, record.file_id, [payload for payload in stored if payload["path"] != record.path])


def _payloads(rows: Rows, file_id: bytes) -> list[dict[str, Any]]:
    first = rows.get(RecordKind.CONTAINER, file_id.hex())
    if first is None:
        return []
    names = (_name(file_id, number) for number in range(1, first.get("copies", 0) + 1))
    others = (rows.get(RecordKind.CONTAINER, name) for name in names)
    return [first, *(payload for payload in others if payload is not None)]


def _write(transaction: Transaction, file_id: bytes, payloads: list[dict[str, Any]]) -> None:
    """Write the rows that differ, remove those past the end, and bring the links from keys up to date."""
    rows = transaction.rows
    before = _payloads(rows, file_id)
    if payloads:
        payloads[0] = _with_copies(payloads[0], len(payloads) - 1)
        payloads[1:] = [_with_copies(payload, 0) for payload in payloads[1:]]
    for number, payload in enumerate(payloads):
        if number >= len(before) or before[number] != payload:
            rows.put(RecordKind.CONTAINER, _name(file_id, number), payload, ALL_CONTAINERS)
    for number in range(len(payloads), len(before)):
        rows.delete(RecordKind.CONTAINER, _name(file_id, number))
    old, new = _keys_of(before), _keys_of(payloads)
    for key_id in sorted(old - new):
        rows.delete(RecordKind.WRAPPING, f"{key_id} {file_id.hex()}")
    for key_id in sorted(new - old):
        link = {"key_id": key_id, "file_id": file_id.hex()}
        rows.put(RecordKind.WRAPPING, f"{key_id} {file_id.hex()}", link, Owner(RecordKind.KEY, key_id))


def _with_copies(payload: dict[str, Any], copies: int) -> dict[str, Any]:
    without = {name: value for name, value in payload.items() if name != "copies"}
    return without | {"copies": copies} if copies else without


def _keys_of(payloads: list[dict[str, Any]]) -> set[str]:
    return {key_id for payload in payloads for key_id in payload["keys"]}


def _name(file_id: bytes, number: int) -> str:
    return file_id.hex() if number == 0 else f"{file_id.hex()} {number}"


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
        **({"signer": record.signer} if record.signer else {}),
        **({"archived_at": record.archived_at} if record.archived_at is not None else {}),
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
        payload.get("signer", ""),
        payload.get("archived_at"),
    )


@dataclass(frozen=True)
class ContainerRecord:
    """A registered container at one location: which keys open it there, and when it was last seen.

    `file_id` has 16 bytes; `path` is empty for a container that was written to a pipe.

    `signed` says that it once carried the signature of `signer` (a node id; empty where it was not recorded); a file
    without one is not that container any more. `archived_at` is when the operator said that it is offline on purpose.
    """

    file_id: bytes
    path: str
    model_id: str
    name: str
    keys: frozenset[str]
    last_seen: Instant
    piped: bool = False
    signed: bool = False
    signer: str = ""
    archived_at: Instant | None = None
