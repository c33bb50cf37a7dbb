"""Accepts an issuer's new epoch on a node.

Come here for what a node does after its issuer was restored. The administrator of the issuer names the audit head with
which the epoch began; that tells a legitimate restore from a fork.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import partial

from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import NotFoundError, RefusedError
from tiktrue_keys.fleet.inbox import get_inbox, put_ended_epoch, put_inbox

ACCEPT = "accept-epoch"


@dataclass(frozen=True, kw_only=True)
class EpochAccepted(OperationResult):
    """The issuer, and the epoch and head that the node follows from now on."""

    issuer: Peer
    epoch: int
    head: str


def accept_epoch(manager: KeyManager, issuer: str, *, expect: str, operation_id: str | None = None) -> EpochAccepted:
    """Accept the epoch that an issuer's envelopes offered, if it began with the head `expect` (64 hex digits).

    Raises NotFoundError when the issuer has offered none, RefusedError for another head.
    """
    asked = OperationRequest.of(ACCEPT, operation_id, {"issuer": issuer, "expect": expect})
    return once(manager.session, asked, partial(_accept, issuer, expect), _repeated)


def _accept(issuer: str, expect: str, operation: Operation) -> EpochAccepted:
    with operation.write() as transaction:
        peer = peers.find_peer(transaction.rows, issuer, ISSUER)
        inbox = get_inbox(transaction.rows, peer.node_id)
        if inbox is None or inbox.offered is None:
            raise NotFoundError(
                f"issuer '{peer.name}' has offered no new epoch", "receive its envelopes first", remedy="receive-epoch"
            )
        epoch, base = inbox.offered
        if not hmac.compare_digest(expect.strip().lower().encode(), base.root.hex().encode()):
            raise RefusedError(
                f"epoch {epoch} of issuer '{peer.name}' did not begin with the expected head",
                "do not accept it: ask its administrator for the head of its audit log",
                remedy="wrong-epoch-head",
            )
        put_ended_epoch(transaction.rows, inbox)
        put_inbox(transaction.rows, inbox.in_epoch(epoch, base))
        detail = {"issuer": peer.name, "epoch": epoch, "head": base.root.hex(), "size": base.size}
        transaction.record(ACCEPT, before=str(inbox.epoch), after=str(epoch), detail=detail)
        operation.remember(transaction, [[peer.node_id, str(epoch), base.root.hex()]])
    return EpochAccepted(operation_id=operation.id, changed=True, issuer=peer, epoch=epoch, head=base.root.hex())


def _repeated(first: FirstRun) -> EpochAccepted:
    ((node_id, epoch, head),) = first.items
    with first.read() as (view, _):
        peer = peers.find_peer(view.rows, node_id, ISSUER)
    return EpochAccepted(operation_id=first.operation_id, changed=False, issuer=peer, epoch=int(epoch), head=head)
