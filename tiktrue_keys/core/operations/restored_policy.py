"""The approval policy over a restore: that of the replaced keystore counts, and it may want an approval for it.

Come here for why an older backup brings no older policy back. The plan lies in the replaced keystore; its use is
recorded in the restored one, whose new epoch no plan of an earlier one fits.

Where the keystore does not open, or is not the one that is replaced, its high-water mark tells whether the backup has
its policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.approvals.plans import Plan, drop_plans, next_number, put_next_number
from tiktrue_keys.core.approvals.policy import ACCEPT_CLOCK, RESTORE_OVER, Policy, get_policy, put_policy
from tiktrue_keys.core.approvals.proposals import PlanNeeded, Proposal, approved_plan, record_approval
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.high_water import policy_digest
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError, TikTrueKeysError

RESET = "approval-reset"


@dataclass(frozen=True)
class ReplacedPolicy:
    """The policy of the keystore that is about to be replaced, and how it judges that.

    `plan` is the approval to use, None where none is needed; `refusal` is what was raised instead.
    """

    keystore_id: bytes
    policy: Policy
    next_number: int
    plan: Plan | None = None
    refusal: PlanNeeded | TikTrueKeysError | None = None


def proposal_of(transaction: Transaction, source: Path, *, accept_clock: bool) -> Proposal:
    """Return what the policy is asked about; `transaction` is the one that opens the restored copy's epoch."""
    state = transaction.state
    backup = {
        "keystore": transaction.document.keystore_id.hex(),
        "records": state.audit_size,
        "head": state.audit_head.hex(),
    }
    also = (ACCEPT_CLOCK,) if accept_clock else ()
    return Proposal(RESTORE_OVER, f"backup {shown(source.absolute())}", backup, also=also)


def replaced_policy(view: Snapshot, now: Instant, approval: int | None, proposal: Proposal) -> ReplacedPolicy:
    """Return what the keystore that is about to be replaced requires. Raises nothing: carry_policy does."""
    found = view.document.keystore_id, get_policy(view.rows), next_number(view.rows)
    try:
        return ReplacedPolicy(*found, approved_plan(view, now, approval, proposal))
    except (PlanNeeded, TikTrueKeysError) as refusal:
        return ReplacedPolicy(*found, refusal=refusal)


def carry_policy(transaction: Transaction, replaced: ReplacedPolicy | None, known: str, *, reset: bool) -> None:
    """Give the restored keystore the policy of the one that it replaces, or none where the escrow resets it.

    `known` is the digest of the policy that this machine knew the keystore by. Raises, unless `reset`, what
    must_be_approved raises; and RefusedError when the keystore's policy is not to be had: neither the replaced file nor
    the backup has it.
    """
    if replaced is not None and replaced.refusal is not None and not reset:
        raise replaced.refusal
    rows = transaction.rows
    drop_plans(rows)
    same = replaced is not None and replaced.keystore_id == transaction.document.keystore_id
    if not (same or reset) and known not in ("", policy_digest(rows)):
        raise RefusedError(
            "this machine knows the keystore under an approval policy that the backup does not have",
            "restore in the place of that keystore, or a backup that was made under its policy",
            remedy="policy-unknown",
        )
    policy = replaced.policy if replaced is not None and same else get_policy(rows)
    if replaced is not None and same:
        put_policy(rows, policy)
        if replaced.next_number > next_number(rows):
            put_next_number(rows, replaced.next_number)
    if reset:
        put_policy(rows, Policy())
        transaction.record(RESET, detail=policy.described())
    elif replaced is not None and replaced.plan is not None:
        record_approval(transaction, replaced.plan, policy)
