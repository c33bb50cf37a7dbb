"""The approval policy and the plans, as values for people and for JSON."""

from __future__ import annotations

from typing import Any

from tiktrue_keys.cli.view.outcome import Cell, When
from tiktrue_keys.core.approvals.policy import OPERATIONS, Policy
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.operations.approvals import Standing


def policy_json(policy: Policy) -> dict[str, Any]:
    """The result of `approvals policy`: what is required, what that comes to for each operation, and the approvers."""
    return {
        "require": dict(sorted(policy.require.items())),
        "needed": {operation: policy.needed((operation,)) for operation in OPERATIONS},
        "approvers": [
            {"name": each.name, "type": each.key.type, "fingerprint": each.key.fingerprint} for each in policy.approvers
        ],
    }


def policy_rows(policy: Policy) -> list[tuple[str, str]]:
    """The operations that need approval, and who approves."""
    needed = [(operation, policy.needed((operation,))) for operation in OPERATIONS]
    counts = [(operation, f"{count} of {len(policy.approvers)}") for operation, count in needed if count]
    return counts + [(f"approver {each.name}", f"{each.key.type} {each.key.fingerprint}") for each in policy.approvers]


def plan_json(standing: Standing) -> dict[str, Any]:
    """A member of `result.approvals`."""
    plan = standing.plan
    return {
        "approval": plan.number,
        "state": standing.state,
        "operation": plan.kind,
        "subject": plan.subject,
        "arguments": plan.arguments,
        "rows": [{"kind": kind, "name": name, "revision": revision} for kind, name, revision in plan.rows],
        "epoch": plan.epoch,
        "needed": standing.needed,
        "signatures": [
            {
                "approver": each.approver,
                "fingerprint": each.key,
                "added_at": rfc3339(each.at),
                "counter": each.counter,
            }
            for each in standing.signed
        ],
        "created_at": rfc3339(plan.created_at),
        "expires_at": rfc3339(plan.expires_at),
        "used_at": rfc3339(plan.used_at),
    }


def plan_row(standing: Standing) -> tuple[Cell, ...]:
    """A row of `approvals list`."""
    plan = standing.plan
    signed = f"{len(standing.signed)} of {standing.needed}"
    return str(plan.number), standing.state, plan.kind, signed, When(plan.expires_at), plan.subject
