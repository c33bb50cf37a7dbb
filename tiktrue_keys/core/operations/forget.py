"""The operation `models forget`: removes a container from the registry, so that its keys may be destroyed.

Come here when a container was deleted outside of this program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tiktrue_keys.core.approvals.policy import FORGET
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.containers.registry import ContainerRecord, delete_container, registered_at
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession

OPERATION = "forget"


@dataclass(frozen=True, kw_only=True)
class Forgotten(OperationResult):
    """The rows of a container that were removed. From now on cleanup may destroy keys that nothing else needs."""

    records: tuple[ContainerRecord, ...]


def forget(session: KeystoreSession, file_id: bytes, location: str | None, operation_id: str | None) -> Forgotten:
    """Delete the registry's rows of a container, or the one at `location`, and record it.

    Raises NotFoundError if there is none.
    """
    asked = OperationRequest.of(OPERATION, operation_id, {"file_id": file_id.hex(), "location": location})
    return once(session, asked, partial(_forget, file_id, location), partial(_repeated, file_id))


def _forget(file_id: bytes, location: str | None, operation: Operation) -> Forgotten:
    with operation.write() as transaction:
        records = tuple(registered_at(transaction.rows, file_id, location))
        paths = [record.path for record in records]
        asked: dict[str, Any] = {"paths": paths, "keys": sorted({key for record in records for key in record.keys})}
        must_be_approved(transaction, Proposal(FORGET, f"container {file_id.hex()}", asked))
        for record in records:
            delete_container(transaction, record)
            detail = {"file_id": file_id.hex(), "path": record.path}
            transaction.record(OPERATION, model_id=record.model_id, detail=detail)
        operation.remember(transaction, [[record.path, record.model_id, record.name] for record in records])
    return Forgotten(operation_id=operation.id, changed=True, records=records)


def _repeated(file_id: bytes, first: FirstRun) -> Forgotten:
    with first.read() as (_, now):
        records = tuple(
            ContainerRecord(file_id, path, model_id, name, frozenset(), now) for path, model_id, name in first.items
        )
    return Forgotten(operation_id=first.operation_id, changed=False, records=records)
