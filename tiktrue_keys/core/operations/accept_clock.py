"""The operation `doctor --accept-clock`: records that the clock is right after a long silence or a leap.

Come here for how due rotations and cleanup resume. A heartbeat ahead of the accepted clock is set back to it; time does
not go back behind the newest audit record.
"""

from __future__ import annotations

from tiktrue_keys.core.approvals.policy import ACCEPT_CLOCK
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import GAP, REGISTRY
from tiktrue_keys.core.once import Operation, once
from tiktrue_keys.core.session import KeystoreSession

OPERATION = "accept-clock"


def accept_clock(session: KeystoreSession, operation_id: str | None) -> None:
    """Record that the clock is right. From then on due keys are rotated and cleanup destroys keys again."""
    once(session, OperationRequest.of(OPERATION, operation_id, {}), _accept, lambda _: None)


def _accept(operation: Operation) -> None:
    with operation.write(accept_clock=True) as transaction:
        must_be_approved(transaction, Proposal(ACCEPT_CLOCK, "this machine"))
        transaction.record(OPERATION)
        for name in (GAP, REGISTRY):
            transaction.rows.delete(RecordKind.CLOCK_GAP, name)
        operation.remember(transaction, [])
