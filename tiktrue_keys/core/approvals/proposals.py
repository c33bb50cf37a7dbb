"""Puts operations under the approval policy, makes their plans, and uses the approved ones.

    must_be_approved(transaction, Proposal(FORGET, subject=file_id.hex(), arguments={...}, rows=((CONTAINER, name),)))

Come here to put an operation under the policy: one call, in the transaction that does it. Without a policy that names
the operation it returns at once. Otherwise it marks the approval that the caller named as used, in that transaction, or
raises PlanNeeded, from which the session stores the plan. A plan belongs to one epoch of one keystore, to the rows as
they are, and ends after a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tiktrue_keys.core.approvals.plans import (
    Plan,
    Revision,
    changed_row,
    delete_plan,
    every_plan,
    get_plan,
    next_number,
    put_next_number,
    put_plan,
)
from tiktrue_keys.core.approvals.policy import ACCEPT_CLOCK, Policy, get_policy
from tiktrue_keys.core.canonical import record_json
from tiktrue_keys.core.instants import DAY, Instant, rfc3339
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.errors import NeedsApprovalError, RefusedError

VALID_FOR = DAY
MAX_OPEN = 64
_KEPT_FOR = 30 * DAY
_ARGUMENTS_LIMIT = 8 * 1024

RowName = tuple[RecordKind, str]
"""A record by its kind and name."""


@dataclass(frozen=True)
class Proposal:
    """An operation as it is about to run.

    `kind` is a name of policy.OPERATIONS, `also` are others that it amounts to. `subject` says what it is done to
    in one line; of one operation and subject one plan is open. `arguments` are JSON-able. `rows` are what it rests on:
    when one changes, the approval is void.
    """

    kind: str
    subject: str
    arguments: dict[str, Any] = field(default_factory=dict)
    rows: Sequence[RowName] = ()
    also: tuple[str, ...] = ()

    @property
    def operations(self) -> tuple[str, ...]:
        """Return everything that the policy is asked about."""
        return (self.kind, *self.also)


class PlanNeeded(Exception):  # noqa: N818  not an error of ours: the session stores the plan and raises one
    """The operation has no approval: its transaction is undone, and its plan is to be stored."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__()
        self.proposal = proposal


def must_be_approved(transaction: Transaction, proposal: Proposal) -> None:
    """Use the caller's approval for the operation of this transaction; return at once where the policy asks for none.

    Raises PlanNeeded without an approval; NotFoundError for an unknown one; RefusedError for one that is used, expired,
    of another epoch or operation, or whose rows changed; NeedsApprovalError for one that lacks signatures.
    """
    plan = approved_plan(transaction, transaction.now, transaction.approval, proposal)
    if plan is not None:
        put_plan(transaction.rows, replace(plan, used_at=transaction.now))
        record_approval(transaction, plan, get_policy(transaction.rows))


def record_approval(transaction: Transaction, plan: Plan, policy: Policy) -> None:
    """Record the use of an approval, with its approvers, under the operation that uses it."""
    detail = {"approval": plan.number, "operation": plan.kind, "subject": plan.subject}
    transaction.used_approval = True
    signers = [f"{each.approver} {each.key}" for each in plan.counted(policy)]
    transaction.record("approval-use", detail={**detail, "approvers": signers})


def approved_plan(view: Snapshot, now: Instant, number: int | None, proposal: Proposal) -> Plan | None:
    """Return the plan that approves the operation; None where the policy asks for none. Raises as must_be_approved."""
    policy = get_policy(view.rows)
    needed = policy.needed(proposal.operations)
    if not needed:
        return None
    if number is None:
        raise PlanNeeded(proposal)
    plan = get_plan(view.rows, number)
    if ACCEPT_CLOCK in proposal.operations:
        now = view.audit.newest_time()  # the clock itself is what is in doubt
    _must_be_open(plan, view, now)
    _must_fit(plan, proposal, view.rows)
    _must_be_signed(plan, policy, needed)
    return plan


def _must_be_open(plan: Plan, view: Snapshot, now: Instant) -> None:
    if plan.used_at is not None:
        raise _void(plan, f"was used at {rfc3339(plan.used_at)}")
    if plan.epoch != view.document.epoch:
        raise _void(plan, f"belongs to epoch {plan.epoch}, and this is epoch {view.document.epoch}")
    if now >= plan.expires_at:
        raise _void(plan, f"expired at {rfc3339(plan.expires_at)}")


def _must_fit(plan: Plan, proposal: Proposal, rows: Rows) -> None:
    if (plan.operations, plan.subject) != (proposal.operations, proposal.subject):
        words = f"for {plan.kind} of {plan.subject}, and this is {proposal.kind} of {proposal.subject}"
        raise _another(plan, words)
    known, now = set(plan.rows), set(revisions(rows, proposal.rows))
    changed = changed_row(rows, plan) or next(iter(sorted(now ^ known)), None)
    if changed is not None:
        raise _void(plan, f"does not hold any more: {changed[0]} {changed[1]} changed since")
    for name in sorted({*plan.arguments, *proposal.arguments}):
        pair = (record_json({name: each.get(name)}) for each in (plan.arguments, proposal.arguments))
        if len(set(pair)) == 2:
            raise _another(plan, f"for {plan.kind} of {plan.subject} with another {name}")


def _another(plan: Plan, why: str) -> RefusedError:
    return RefusedError(
        f"approval {plan.number} is {why}",
        "compare the command and its arguments with the plan",
        remedy="compare-plan",
        about={"approval": str(plan.number)},
    )


def _must_be_signed(plan: Plan, policy: Policy, needed: int) -> None:
    count = len(plan.counted(policy))
    if count < needed:
        raise NeedsApprovalError(
            f"approval {plan.number} has {count} of {needed} signatures",
            "add the signatures of other approvers",
            remedy="sign-more",
            about={"approval": str(plan.number)},
        )


def _void(plan: Plan, why: str) -> RefusedError:
    words = "run the command without an approval to make a new plan"
    return RefusedError(f"approval {plan.number} {why}", words, remedy="new-plan")


def revisions(rows: Rows, names: Sequence[RowName]) -> tuple[Revision, ...]:
    """Return the present revisions of records, in the order of their kinds and names."""
    return tuple(sorted((kind.name.lower(), name, rows.revision(kind, name)) for kind, name in set(names)))


def store_plan(transaction: Transaction, proposal: Proposal) -> tuple[Plan, int]:
    """Return the open plan of this proposal, stored and recorded if there was none, and how many approvals it needs.

    A plan of the same subject whose arguments or rows differ is replaced. Raises RefusedError when 64 plans are open.
    """
    needed = get_policy(transaction.rows).needed(proposal.operations)
    rows = revisions(transaction.rows, proposal.rows)
    known = [plan for plan in every_plan(transaction.rows) if plan.is_open(transaction, transaction.now)]
    for plan in known:
        if (plan.kind, plan.subject) != (proposal.kind, proposal.subject):
            continue
        if plan.rows == rows and record_json(plan.arguments) == record_json(proposal.arguments):
            return plan, needed
        delete_plan(transaction.rows, plan)
        known = [each for each in known if each is not plan]
    if len(known) >= MAX_OPEN:
        raise RefusedError(
            f"{MAX_OPEN} plans are open", "wait until one expires, or have one approved", remedy="list-approvals"
        )
    _sweep(transaction)
    plan = _new_plan(transaction, proposal, rows)
    put_plan(transaction.rows, plan)
    detail = {"approval": plan.number, "operation": plan.kind, "subject": plan.subject}
    transaction.record("approval-plan", detail=detail | {"needed": needed})
    return plan, needed


def needs_approval(plan: Plan, needed: int) -> NeedsApprovalError:
    """Return the error of an operation whose plan is stored."""
    return NeedsApprovalError(
        f"{plan.kind} of {plan.subject} needs {needed} approval{'s' * (needed != 1)}: "
        f"plan {plan.number} is open until {rfc3339(plan.expires_at)}",
        "have it signed, add the signatures, and run the same command with the approval",
        remedy="needs-approval",
        about={"approval": str(plan.number)},
    )


def _new_plan(transaction: Transaction, proposal: Proposal, rows: tuple[Revision, ...]) -> Plan:
    if len(record_json(proposal.arguments)) + len(proposal.subject) > _ARGUMENTS_LIMIT:
        raise RefusedError("the operation has too many arguments for a plan", "name fewer of them at once")
    number = next_number(transaction.rows)
    put_next_number(transaction.rows, number + 1)
    return Plan(
        number,
        transaction.document.epoch,
        proposal.kind,
        proposal.also,
        proposal.subject,
        proposal.arguments,
        rows,
        transaction.now,
        Instant(transaction.now + VALID_FOR),
    )


def _sweep(transaction: Transaction) -> None:
    """Delete the plans that ended long ago; the audit log keeps what became of them."""
    for plan in every_plan(transaction.rows):
        if plan.expires_at + _KEPT_FOR <= transaction.now:
            delete_plan(transaction.rows, plan)
