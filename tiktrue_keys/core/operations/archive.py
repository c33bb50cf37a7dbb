"""The operation `models archive`: a container is offline on purpose, so that rotations do not look for it.

Come here for what that means: its keys are kept as long as any container's, nothing retries it, and status
does not report it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tiktrue_keys.core.containers.registry import ContainerRecord, archive_container, locations_of, registered_at
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession

ARCHIVE = "archive"
UNARCHIVE = "unarchive"


@dataclass(frozen=True, kw_only=True)
class Archived(OperationResult):
    """The rows of a container as they are now."""

    records: tuple[ContainerRecord, ...]


def archive(
    session: KeystoreSession, file_id: bytes, location: str | None, *, undo: bool, operation_id: str | None
) -> Archived:
    """Mark a container as archived at every location, or at `location`; with `undo` unmark it.

    Raises NotFoundError if there is none.
    """
    event = UNARCHIVE if undo else ARCHIVE
    asked = OperationRequest.of(event, operation_id, {"file_id": file_id.hex(), "location": location})
    return once(session, asked, partial(_archive, undo, file_id, location), partial(_repeated, file_id))


def _archive(undo: bool, file_id: bytes, location: str | None, operation: Operation) -> Archived:
    with operation.write() as transaction:
        named = registered_at(transaction.rows, file_id, location)
        changing = [record for record in named if (record.archived_at is None) is not undo]
        for record in changing:
            archive_container(transaction, record, None if undo else transaction.now)
            detail = {"file_id": file_id.hex(), "path": record.path}
            if undo:
                transaction.record(UNARCHIVE, model_id=record.model_id, detail=detail)
            else:
                transaction.record(ARCHIVE, model_id=record.model_id, detail=detail)
        paths = [record.path for record in named]
        operation.remember(transaction, [[path] for path in paths])
        records = tuple(record for record in locations_of(transaction.rows, file_id) if record.path in paths)
    return Archived(operation_id=operation.id, changed=bool(changing), records=records)


def _repeated(file_id: bytes, first: FirstRun) -> Archived:
    paths = {path for (path,) in first.items}
    with first.read() as (view, _):
        records = tuple(record for record in locations_of(view.rows, file_id) if record.path in paths)
    return Archived(operation_id=first.operation_id, changed=False, records=records)
