"""Stored plans: operations that wait for approval, and the text of one that approvers sign.

Come here for what a plan holds and how it is stored. proposals.py makes plans and lets operations use them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.approvals.policy import Policy
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.errors import InternalError, NotFoundError

_ROWS_A_PART = 64
_PLANS = Owner(RecordKind.APPROVAL, "plans")
_COUNTER = "next"

Revision = tuple[str, str, int]
"""A record by its kind and name, and how often it was written; 0: it does not exist."""


@dataclass(frozen=True)
class PlanSignature:
    """A verified signature: whose, by which key (a fingerprint), when it was added, and a security key's counter."""

    approver: str
    key: str
    at: int
    counter: int | None = None


@dataclass(frozen=True)
class Plan:
    """A stored proposal. Instants are Unix seconds; `used_at` is None until its operation ran."""

    number: int
    epoch: int
    kind: str
    also: tuple[str, ...]
    subject: str
    arguments: dict[str, Any]
    rows: tuple[Revision, ...]
    created_at: Instant
    expires_at: Instant
    signatures: tuple[PlanSignature, ...] = ()
    used_at: Instant | None = None

    @property
    def operations(self) -> tuple[str, ...]:
        """Return everything that the policy is asked about."""
        return (self.kind, *self.also)

    def is_open(self, view: Snapshot, now: Instant) -> bool:
        """Return whether it can still be signed and used."""
        return self.used_at is None and self.epoch == view.document.epoch and now < self.expires_at

    def counted(self, policy: Policy) -> tuple[PlanSignature, ...]:
        """Return its signatures by keys that the policy still lists. There is at most one of each key."""
        listed = {each.key.fingerprint for each in policy.approvers}
        return tuple(each for each in self.signatures if each.key in listed)


def next_number(rows: Rows) -> int:
    """Return the number of the next plan."""
    return int((rows.get(RecordKind.APPROVAL, _COUNTER) or {"next": 1})["next"])


def put_next_number(rows: Rows, number: int) -> None:
    """Store the number of the next plan."""
    rows.put(RecordKind.APPROVAL, _COUNTER, {"next": number})


def plan_text(plan: Plan, keystore_id: bytes) -> bytes:
    """Return the text that approvers read and sign: ASCII lines, each value as JSON where it could hold a line end."""
    return "".join(f"{line}\n" for line in _lines(plan, keystore_id)).encode("ascii")


def _lines(plan: Plan, keystore_id: bytes) -> Iterator[str]:
    yield "tiktrue-keys/1 approval"
    yield f"keystore {keystore_id.hex()}"
    yield f"epoch {plan.epoch}"
    yield f"number {plan.number}"
    yield f"operation {' '.join(plan.operations)}"
    yield f"subject {_ascii(plan.subject)}"
    for name, value in sorted(plan.arguments.items()):
        yield f"argument {name} {_ascii(value)}"
    for kind, name, revision in plan.rows:
        yield f"row {kind} {_ascii(name)} revision {revision}"
    yield f"created {rfc3339(plan.created_at)}"
    yield f"expires {rfc3339(plan.expires_at)}"


def _ascii(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(", ", ": "))


def get_plan(rows: Rows, number: int) -> Plan:
    """Return a plan. Raises NotFoundError when there is none of that number."""
    payload = rows.get(RecordKind.APPROVAL, _name(number))
    if payload is None:
        raise NotFoundError(f"there is no approval {number}", remedy="list-approvals")
    return _plan_of(rows, payload)


def every_plan(rows: Rows) -> list[Plan]:
    """Return the plans that are kept: the open ones, and for 30 days the others; by number."""
    payloads = rows.owned_by(RecordKind.APPROVAL, _PLANS)
    return [_plan_of(rows, payload) for payload in sorted(payloads, key=lambda payload: payload["number"])]


def put_plan(rows: Rows, plan: Plan) -> None:
    """Store a plan; its rows, which may be thousands, in records of their own."""
    parts = [plan.rows[at : at + _ROWS_A_PART] for at in range(0, len(plan.rows), _ROWS_A_PART)]
    members = {name: getattr(plan, name) for name in _STORED}
    signatures = [vars(each) for each in plan.signatures]
    payload = members | {
        "operation": plan.kind,
        "arguments": plan.arguments,
        "also": list(plan.also),
        "signatures": signatures,
        "parts": len(parts),
    }
    rows.put(RecordKind.APPROVAL, _name(plan.number), payload, _PLANS)
    for number, part in enumerate(parts):
        name = f"{_name(plan.number)} {number}"
        if rows.revision(RecordKind.APPROVAL, name) == 0:  # they do not change as long as the plan is kept
            rows.put(RecordKind.APPROVAL, name, {"rows": [list(row) for row in part]})


_STORED = ("number", "epoch", "subject", "created_at", "expires_at", "used_at")


def _plan_of(rows: Rows, payload: Mapping[str, Any]) -> Plan:
    parts = [rows.get(RecordKind.APPROVAL, f"{_name(payload['number'])} {part}") for part in range(payload["parts"])]
    if None in parts:
        raise InternalError(f"plan {payload['number']} lacks a part")
    listed = [(kind, name, revision) for part in parts if part for kind, name, revision in part["rows"]]
    members = {name: payload[name] for name in _STORED}
    signatures = tuple(PlanSignature(**each) for each in payload["signatures"])
    also = tuple(payload["also"])
    return Plan(
        **members,
        kind=payload["operation"],
        also=also,
        arguments=payload["arguments"],
        rows=tuple(listed),
        signatures=signatures,
    )


def drop_plans(rows: Rows) -> None:
    """Delete every plan: none of them holds any more."""
    for plan in every_plan(rows):
        delete_plan(rows, plan)


def changed_row(rows: Rows, plan: Plan) -> Revision | None:
    """Return a row of the plan that was written since, or None while the plan holds."""
    return next((row for row in plan.rows if rows.revision(RecordKind[row[0].upper()], row[1]) != row[2]), None)


def delete_plan(rows: Rows, plan: Plan) -> None:
    """Delete a plan and its rows."""
    rows.delete(RecordKind.APPROVAL, _name(plan.number))
    for number in range(-(-len(plan.rows) // _ROWS_A_PART)):
        rows.delete(RecordKind.APPROVAL, f"{_name(plan.number)} {number}")


def _name(number: int) -> str:
    return f"plan {number}"
