"""The operation `models forget`: removes a container from the registry, so that its keys may be destroyed.

Come here when a container was deleted outside of this program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tiktrue_keys.core.containers.registry import ContainerRecord, delete_container, get_container
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import NotFoundError

OPERATION = "forget"


@dataclass(frozen=True, kw_only=True)
class Forgotten(OperationResult):
    """A container that was removed from the registry. From now on cleanup may destroy its keys."""

    record: ContainerRecord


def forget(session: KeystoreSession, file_id: bytes, operation_id: str | None) -> Forgotten:
    """Delete the registry's row of a container, and record it. Raises NotFoundError if it is not registered."""
    asked = OperationRequest.of(OPERATION, operation_id, {"file_id": file_id.hex()})
    return once(session, asked, partial(_forget, file_id), partial(_repeated, file_id))


def _forget(file_id: bytes, operation: Operation) -> Forgotten:
    with operation.write() as transaction:
        record = get_container(transaction.rows, file_id)
        if record is None:
            raise NotFoundError(
                f"container {file_id.hex()} is not registered", "list them with containers()", remedy="list-containers"
            )
        delete_container(transaction, record)
        operation.remember(transaction, [[record.path, record.model_id, record.name]])
        detail = {"file_id": file_id.hex(), "path": record.path}
        transaction.record(OPERATION, model_id=record.model_id, detail=detail)
    return Forgotten(operation_id=operation.id, changed=True, record=record)


def _repeated(file_id: bytes, first: FirstRun) -> Forgotten:
    ((path, model_id, name),) = first.items
    with first.read() as (_, now):
        record = ContainerRecord(file_id, path, model_id, name, frozenset(), now)
    return Forgotten(operation_id=first.operation_id, changed=False, record=record)
