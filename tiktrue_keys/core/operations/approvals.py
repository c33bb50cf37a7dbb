"""The operations of `approvals`: set the policy, list the plans, and add the signatures of approvers to them.

Come here for who may change what: the policy changes only under itself. core/approvals has the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.approvals.plans import (
    Plan,
    PlanSignature,
    changed_row,
    every_plan,
    get_plan,
    plan_text,
    put_plan,
)
from tiktrue_keys.core.approvals.policy import (
    HIGHEST,
    POLICY,
    RECORD,
    Approver,
    Policy,
    get_policy,
    policy_json,
    put_policy,
)
from tiktrue_keys.core.approvals.proposals import MAX_OPEN, Proposal, must_be_approved
from tiktrue_keys.core.approvals.ssh_signatures import SignatureVerifier, SshSignature, parse_signature
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError, RefusedError

SET_POLICY = "approval-policy"
ADD = "approval-add"
_SUBJECT = "this keystore"
_TRIED = 2 * MAX_OPEN
"""How many plans a signature is tried on: all open ones first, then the newest of the others."""


@dataclass(frozen=True, kw_only=True)
class PolicyResult(OperationResult):
    """The policy as it is now."""

    policy: Policy


@dataclass(frozen=True)
class Standing:
    """A plan at an instant: `state` is open, approved, used, expired or void; it has `signed` of `needed` approvals."""

    plan: Plan
    state: str
    signed: tuple[PlanSignature, ...]
    needed: int


@dataclass(frozen=True, kw_only=True)
class AddedSignature(OperationResult):
    """The plan that a signature was for, and the approver who signed."""

    standing: Standing
    approver: str


def approval_policy(session: KeystoreSession) -> Policy:
    """Return the policy; one without requirements where none was set."""
    with session.read() as (view, _):
        return get_policy(view.rows)


def set_policy(
    session: KeystoreSession,
    *,
    require: Mapping[str, int],
    approvers: Iterable[Approver] = (),
    removed: Iterable[str] = (),
    operation_id: str | None,
) -> PolicyResult:
    """Change the policy and record it: 0 removes a requirement, `removed` are names of approvers.

    Raises UsageError and RefusedError for a policy that cannot be kept, and what must_be_approved raises: after the
    first one, a policy changes only with the approvals that it requires for that.
    """
    added, gone = tuple(approvers), tuple(sorted(removed))
    arguments = {
        "require": dict(require),
        "approvers": {each.name: each.key.text for each in added},
        "removed": list(gone),
    }
    asked = OperationRequest.of(SET_POLICY, operation_id, arguments)
    return once(session, asked, partial(_set, dict(require), added, gone), _policy_of)


def _set(
    require: Mapping[str, int], added: tuple[Approver, ...], removed: tuple[str, ...], operation: Operation
) -> PolicyResult:
    with operation.write() as transaction:
        before = get_policy(transaction.rows)
        policy = before.changed(require, added, removed)
        changed = policy_json(policy) != policy_json(before)
        if changed:
            row = (RecordKind.APPROVAL, RECORD)
            must_be_approved(transaction, Proposal(POLICY, _SUBJECT, policy.described(), (row,)))
            put_policy(transaction.rows, policy)
            transaction.record(SET_POLICY, detail=policy.described())
            operation.remember(transaction, [])
    return PolicyResult(operation_id=operation.id, changed=changed, warnings=_warnings(policy), policy=policy)


def _policy_of(first: FirstRun) -> PolicyResult:
    with first.read() as (view, _):
        policy = get_policy(view.rows)
    return PolicyResult(operation_id=first.operation_id, changed=False, policy=policy)


def _warnings(policy: Policy) -> tuple[Notice, ...]:
    strictest = max(policy.require.values(), default=0)
    lower = [name for name in HIGHEST if policy.needed((name,)) < strictest]
    words = (
        f"{name} needs fewer approvals than {strictest}: its approvers can lower what the other operations need"
        for name in lower
    )
    return tuple(Notice("weak-policy", each) for each in words)


def approvals(session: KeystoreSession) -> tuple[Standing, ...]:
    """Return the plans that are kept, by number: the open ones, and for 30 days the others."""
    with session.read() as (view, now):
        return tuple(_standing(view, plan, now) for plan in every_plan(view.rows))


def approval_text(session: KeystoreSession, number: int) -> bytes:
    """Return the text that approvers sign. Raises NotFoundError for an unknown plan, RefusedError for a closed one."""
    with session.read() as (view, now):
        plan = get_plan(view.rows, number)
        _must_be_open(_standing(view, plan, now))
        return plan_text(plan, view.document.keystore_id)


def add_signature(
    session: KeystoreSession, data: bytes, *, verifier: SignatureVerifier | None = None, operation_id: str | None
) -> AddedSignature:
    """Add the signature in a file of `ssh-keygen -Y sign` to the plan that it signs, and record it.

    Raises IntegrityError for a signature that is malformed or of no plan of this keystore; RefusedError when its key is
    not an approver's, its security key was not touched, or its plan is closed; UnavailableError without ssh-keygen.
    """
    with session.noting(ADD, operation_id):
        signature = parse_signature(data)
        with session.read() as (view, now):
            policy, keystore_id = get_policy(view.rows), view.document.keystore_id
            plans = sorted(every_plan(view.rows), key=lambda plan: (not plan.is_open(view, now), -plan.number))[:_TRIED]
        signer = _signer(policy, signature)
        plan = _signed_plan(plans, keystore_id, signer, signature, verifier or SignatureVerifier())
    asked = OperationRequest.of(ADD, operation_id, {"number": plan.number, "key": signer.key.fingerprint})
    return once(session, asked, partial(_add, plan.number, signer, signature), partial(_added_before, signer))


def _signer(policy: Policy, signature: SshSignature) -> Approver:
    signer = policy.approver_of(signature.key)
    if signer is None:
        raise RefusedError(
            "the signature's key is not an approver's",
            "sign with a plain key that the policy lists",
            remedy="show-policy",
        )
    return signer


def _signed_plan(
    plans: list[Plan], keystore_id: bytes, signer: Approver, signature: SshSignature, verifier: SignatureVerifier
) -> Plan:
    for plan in plans:
        if verifier.verifies(signature, signer.key, plan_text(plan, keystore_id)):
            return plan
    raise IntegrityError(
        f"the signature of {signer.name} is of no plan of this keystore",
        "sign the text that was exported here, unchanged",
        remedy="list-approvals",
    )


def _add(number: int, signer: Approver, signature: SshSignature, operation: Operation) -> AddedSignature:
    with operation.write() as transaction:
        plan = get_plan(transaction.rows, number)
        _must_be_open(_standing(transaction, plan, transaction.now))
        key = signer.key.fingerprint
        changed = key not in {each.key for each in plan.signatures}
        if changed:
            added = PlanSignature(signer.name, key, transaction.now, signature.counter)
            plan = replace(plan, signatures=(*plan.signatures, added))
            put_plan(transaction.rows, plan)
            detail = {"approval": number, "approver": signer.name, "key": key, "counter": signature.counter}
            transaction.record(ADD, detail=detail)
            operation.remember(transaction, [[str(number)]])
        standing = _standing(transaction, plan, transaction.now)
    return AddedSignature(operation_id=operation.id, changed=changed, standing=standing, approver=signer.name)


def _added_before(signer: Approver, first: FirstRun) -> AddedSignature:
    ((number,),) = first.items
    with first.read() as (view, now):
        standing = _standing(view, get_plan(view.rows, int(number)), now)
    return AddedSignature(operation_id=first.operation_id, changed=False, standing=standing, approver=signer.name)


def _standing(view: Snapshot, plan: Plan, now: Instant) -> Standing:
    policy = get_policy(view.rows)
    needed, signed = policy.needed(plan.operations), plan.counted(policy)
    return Standing(plan, _state(view, plan, now, len(signed) >= needed), signed, needed)


def _state(view: Snapshot, plan: Plan, now: Instant, signed: bool) -> str:
    if plan.used_at is not None:
        return "used"
    if plan.epoch != view.document.epoch or changed_row(view.rows, plan) is not None:
        return "void"
    if now >= plan.expires_at:
        return "expired"
    return "approved" if signed else "open"


def _must_be_open(standing: Standing) -> None:
    plan = standing.plan
    reasons = {
        "used": f"was used at {rfc3339(plan.used_at)}",
        "void": "does not hold any more: what it rests on changed since",
        "expired": f"expired at {rfc3339(plan.expires_at)}",
    }
    if standing.state in reasons:
        words = "run the command without an approval to make a new plan"
        raise RefusedError(f"approval {plan.number} {reasons[standing.state]}", words, remedy="new-plan")
