"""File operations as the keystore records them: an intent before the file changes, an outcome after.

Come here for what a crash leaves: an open intent, which the next writing command settles by reading the file (package
models). This module also updates the registry; it reads and writes no container.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.containers.owner_process import this_process
from tiktrue_keys.core.containers.registry import ContainerRecord, delete_container, get_container, put_container
from tiktrue_keys.core.containers.settlement import Ending, Settlement, apply_settlement, single
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import KeyId, OperationId, model_of
from tiktrue_keys.core.node_ids import node_id_of
from tiktrue_keys.errors import IntegrityError, RefusedError

OPEN_INTENTS = Owner(RecordKind.INTENT, "open")
ABSENT = "absent"
"""What an intent says of an output whose name was free."""


@dataclass(frozen=True)
class FileIntent:
    """A file operation that is about to begin.

    `file_id` has 16 bytes; `path` is absolute, or empty for a pipe; `keys_before` and `keys_after` are the ids of the
    keys that open the file before and after. `replaces` says that the output's name is taken already, so that the name
    alone does not prove that the operation was done. `before` says what had that name: ABSENT, or the identity of a
    file or object as the models package writes it; None in intents that do not record it. `process` names the process
    that performs the operation, so that one in progress is not settled. `request` is the digest of the arguments under
    a `chosen` operation id.

    Where a release may follow the operation: `supersedes` is the id (hex) of what it takes the place of, `leaves` when
    that leaves the release (empty: it stays), and `root` the new root or digest (hex) once the release names it.
    """

    operation: str
    file_id: bytes
    path: str
    keys_before: frozenset[str]
    keys_after: frozenset[str]
    model_id: str = ""
    name: str = ""
    temporary: str | None = None
    existed: bool = False
    piped: bool = False
    signed: bool = False
    replaces: bool = False
    chosen: bool = False
    operation_id: str = ""
    process: str = ""
    at: int = 0
    before: str | None = None
    request: str = ""
    root: str = ""
    supersedes: str = ""
    leaves: str = ""

    @property
    def needs(self) -> frozenset[str]:
        """Return the keys that no cleanup may destroy while the operation is open."""
        return self.keys_before | self.keys_after

    @property
    def of_folder(self) -> bool:
        """Return whether it makes a folder. Its id and path have no row; its containers get theirs at the end."""
        return "-folder" in self.operation

    @property
    def places(self) -> tuple[str, ...]:
        """Return the path, and the temporary path where there is one."""
        return tuple(place for place in (self.path, self.temporary) if place)

    @property
    def asked(self) -> OperationRequest:
        """What the operation does; it may end in another process than the one that was asked."""
        return OperationRequest(self.operation, OperationId(self.operation_id), self.chosen, self.request)


def begin_intent(transaction: Transaction, intent: FileIntent, request: OperationRequest) -> FileIntent:
    """Record the intent, and register the file under every key that may open it from now on.

    Raises RefusedError when the operation id is open already, was done already, or was used for another request.
    """
    operation_id = request.operation_id
    if transaction.rows.get(RecordKind.INTENT, operation_id) is not None:
        raise RefusedError(f"operation {operation_id} is open already", "finish it, or choose another id")
    if request.first_result(transaction.rows) is not None:
        raise RefusedError(f"operation {operation_id} was done already")
    known = get_container(transaction.rows, intent.file_id, intent.path)
    intent = replace(
        intent,
        chosen=request.chosen,
        request=request.digest,
        operation_id=operation_id,
        process=this_process(),
        at=transaction.now,
        existed=known is not None,
    )
    put_intent(transaction, intent)
    if intent.needs and not intent.of_folder:
        put_container(
            transaction, _record_of(transaction, intent, known, intent.needs | (known.keys if known else frozenset()))
        )
    transaction.record(
        "intent",
        key_id=single(intent.needs),
        model_id=intent.model_id or None,
        detail={"act": intent.operation, "file_id": intent.file_id.hex(), "path": intent.path},
        operation_id=operation_id,
    )
    return intent


def finish_intent(transaction: Transaction, operation_id: OperationId, ending: Ending) -> FileIntent:
    """Close the intent, record its outcome, and return it.

    Raises IntegrityError when another process has settled the operation.
    """
    intent = _must_be_open(transaction, operation_id)
    if ending.outcome == "ok":
        intent.asked.remember(transaction, [[intent.file_id.hex(), intent.path]])
    transaction.rows.delete(RecordKind.INTENT, operation_id)
    if not intent.of_folder:
        _register_outcome(transaction, intent, ending.keys)
    apply_settlement(transaction, ending.others, intent.places)
    transaction.record(
        intent.operation,
        outcome=ending.outcome,
        key_id=single(ending.keys or intent.needs),
        model_id=intent.model_id or None,
        detail={"file_id": intent.file_id.hex(), "path": intent.path, **ending.detail},
        operation_id=operation_id,
    )
    return intent


def settle_part(transaction: Transaction, operation_id: OperationId, part: Settlement) -> None:
    """Change other rows of the registry before the outcome is recorded; the intent stays open.

    Raises IntegrityError when another process has settled the operation.
    """
    apply_settlement(transaction, part, _must_be_open(transaction, operation_id).places)


def _must_be_open(transaction: Transaction, operation_id: OperationId) -> FileIntent:
    intent = get_intent(transaction.rows, operation_id)
    if intent is None:
        raise IntegrityError(f"operation {operation_id} was settled by another process")
    return intent


def _register_outcome(transaction: Transaction, intent: FileIntent, keys: frozenset[str] | None) -> None:
    known = get_container(transaction.rows, intent.file_id, intent.path)
    if keys:
        put_container(transaction, _record_of(transaction, intent, known, keys))
    elif known is not None and not intent.existed:
        delete_container(transaction, known)
    elif known is not None and intent.existed:
        put_container(transaction, replace(known, keys=intent.keys_before or known.keys))


def put_intent(transaction: Transaction, intent: FileIntent) -> None:
    """Write an open intent."""
    transaction.rows.put(RecordKind.INTENT, intent.operation_id, _intent_json(intent), OPEN_INTENTS)


def get_intent(rows: Rows, operation_id: OperationId) -> FileIntent | None:
    """Return the open intent of an operation, or None."""
    payload = rows.get(RecordKind.INTENT, operation_id)
    return None if payload is None else _intent_of(payload)


def open_intents(rows: Rows) -> tuple[FileIntent, ...]:
    """Return the operations that were begun and not finished, by this process or by one that died."""
    return tuple(_intent_of(payload) for payload in rows.owned_by(RecordKind.INTENT, OPEN_INTENTS))


def every_intent(rows: Rows) -> list[FileIntent]:
    """Return the open intents from a full pass, which detects a hidden row."""
    return [_intent_of(payload) for payload in rows.scan(RecordKind.INTENT)]


def _record_of(
    transaction: Transaction, intent: FileIntent, known: ContainerRecord | None, keys: frozenset[str]
) -> ContainerRecord:
    document = transaction.document
    here = node_id_of(document.identity_key, document.identity_hpke)
    return ContainerRecord(
        intent.file_id,
        intent.path,
        intent.model_id or (known.model_id if known else model_of(KeyId(min(keys)))),
        intent.name or (known.name if known else ""),
        keys,
        Instant(intent.at),
        piped=intent.piped,
        signed=intent.signed or bool(known and known.signed),
        signer=here if intent.signed else known.signer if known else "",
    )


def _intent_json(intent: FileIntent) -> dict[str, Any]:
    return {
        "act": intent.operation,
        "file_id": intent.file_id.hex(),
        "path": intent.path,
        "keys_before": sorted(intent.keys_before),
        "keys_after": sorted(intent.keys_after),
        "model_id": intent.model_id,
        "name": intent.name,
        "temporary": intent.temporary,
        "existed": intent.existed,
        "piped": intent.piped,
        "signed": intent.signed,
        "replaces": intent.replaces,
        "chosen": intent.chosen,
        "operation_id": intent.operation_id,
        "process": intent.process,
        "at": intent.at,
        "before": intent.before,
        "request": intent.request,
        "root": intent.root,
        "supersedes": intent.supersedes,
        "leaves": intent.leaves,
    }


def _intent_of(payload: dict[str, Any]) -> FileIntent:
    members = dict(payload)
    return FileIntent(
        **{
            "operation": members.pop("act"),
            **members,
            "file_id": bytes.fromhex(payload["file_id"]),
            "keys_before": frozenset(payload["keys_before"]),
            "keys_after": frozenset(payload["keys_after"]),
            "operation_id": OperationId(payload["operation_id"]),
        }
    )
