"""Operation ids: an act under a chosen one is done once, and its repetition gives the first result."""

from __future__ import annotations

from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId, new_operation_id, parse_operation_id
from tiktrue_keys.errors import RefusedError

_ITEMS_A_PART = 64  # two key ids of 113 characters each: a part stays below schema.MAX_RECORD


def chosen_operation_id(operation_id: str | None) -> tuple[OperationId, bool]:
    """The operation id to act under, and whether the caller chose it (then a repetition returns the first result)."""
    if operation_id is None:
        return new_operation_id(), False
    return parse_operation_id(operation_id), True


def first_result(rows: Rows, operation_id: OperationId, act: str) -> list[list[str]] | None:
    """The ids that the act of this operation id gave; None when it was not done, RefusedError for another."""
    payload = rows.get(RecordKind.OPERATION, operation_id)
    if payload is None:
        return None
    if payload["act"] != act:
        raise RefusedError(
            f"operation {operation_id} was a {payload['act']}", "choose another id", remedy="operation-id-taken"
        )
    items: list[list[str]] = []
    for part in range(payload["parts"]):
        stored = rows.get(RecordKind.OPERATION, f"{operation_id} {part}")
        items += stored["items"] if stored else []
    return items


def remember_result(transaction: Transaction, act: str, items: list[list[str]]) -> None:
    """Store the ids that an act with a chosen operation id gave, in parts that fit a record."""
    parts = [items[at : at + _ITEMS_A_PART] for at in range(0, len(items), _ITEMS_A_PART)]
    header = {"act": act, "at": transaction.now, "parts": len(parts)}
    transaction.rows.put(RecordKind.OPERATION, transaction.operation_id, header)
    for number, part in enumerate(parts):
        transaction.rows.put(RecordKind.OPERATION, f"{transaction.operation_id} {number}", {"items": part})
