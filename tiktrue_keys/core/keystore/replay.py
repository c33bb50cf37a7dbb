"""Operation ids in the keystore: the request under each id and its result, so that a repetition changes nothing.

Come here for the stored record; `core.once` runs operations. A request is compared as it was given: its operation and
arguments, before keys and nodes are resolved. Licenses are left out, because a repetition may supply them in another
way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from tiktrue_keys.core.canonical import record_json
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.subject import NOTHING, Subject
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId, new_operation_id, parse_operation_id
from tiktrue_keys.errors import RefusedError

Items = list[list[str]]
"""The ids and paths from which the result of an operation is built again."""

_ITEMS_A_PART = 64  # two key ids of 113 characters each: a part stays below schema.MAX_RECORD


@dataclass(frozen=True)
class OperationRequest:
    """A request under an operation id. `chosen`: the caller chose the id, so that the result is remembered.

    `digest` is SHA-256 in hex of the arguments, and empty without a chosen id. `subject` is what they name.
    """

    operation: str
    operation_id: OperationId
    chosen: bool = False
    digest: str = ""
    subject: Subject = field(default=NOTHING, compare=False)

    @classmethod
    def of(cls, operation: str, operation_id: str | None, arguments: Mapping[str, Any]) -> OperationRequest:
        """Return the request of `operation` with these JSON-able arguments.

        An argument that is null, false or empty counts as not given, so that a new option does not change older
        requests. Raises UsageError for a malformed operation id.
        """
        subject = Subject.of(arguments)
        if operation_id is None:
            return cls(operation, new_operation_id(), subject=subject)
        digest = hashlib.sha256(record_json(_given(arguments))).hexdigest()
        return cls(operation, parse_operation_id(operation_id), True, digest, subject)

    def first_result(self, rows: Rows) -> Items | None:
        """Return the items of the first run; None when the operation was not done.

        Raises RefusedError when the id was used for another operation, or with other arguments.
        """
        payload = rows.get(RecordKind.OPERATION, self.operation_id) if self.chosen else None
        if payload is None:
            return None
        if payload["act"] != self.operation:
            raise self._taken(payload["act"])
        known = payload.get("request")
        if known and self.digest and known != self.digest:  # older records have none
            raise self._taken(f"{self.operation} with other arguments")
        items: Items = []
        for part in range(payload["parts"]):
            stored = rows.get(RecordKind.OPERATION, f"{self.operation_id} {part}")
            items += stored["items"] if stored else []
        return items

    def remember(self, transaction: Transaction, items: Items) -> None:
        """Store the items in parts that fit a record. Does nothing without a chosen id."""
        if not self.chosen:
            return
        parts = [items[at : at + _ITEMS_A_PART] for at in range(0, len(items), _ITEMS_A_PART)]
        header = {"act": self.operation, "at": transaction.now, "parts": len(parts)}
        if self.digest:
            header["request"] = self.digest
        transaction.rows.put(RecordKind.OPERATION, self.operation_id, header)
        for number, part in enumerate(parts):
            transaction.rows.put(RecordKind.OPERATION, f"{self.operation_id} {number}", {"items": part})

    def claim(self, transaction: Transaction) -> None:
        """Reserve the id for this request. A repetition runs the operation again and does what is due then.

        Raises RefusedError when another request has the id.
        """
        if self.first_result(transaction.rows) is None:
            self.remember(transaction, [])

    def _taken(self, by: str) -> RefusedError:
        return RefusedError(
            f"operation {self.operation_id} was used for {by}", "choose another id", remedy="operation-id-taken"
        )


def arguments_of(request: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a frozen request as JSON-able arguments, with bytes as their SHA-256."""
    return {field.name: _plain(getattr(request, field.name)) for field in fields(request) if field.name not in without}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _given(arguments_of(value))
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(member) for member in value]
    return value


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value not in (None, "", [], {}) and value is not False}
