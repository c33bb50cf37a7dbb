"""Accepts an issuer's new epoch on a node.

Come here for what a node does after its issuer was restored. The administrator of the issuer names the audit head with
which the epoch began; that tells a legitimate restore from a fork.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer
from tiktrue_keys.core.keystore.replay import chosen_operation_id
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import NotFoundError, RefusedError
from tiktrue_keys.fleet.inbox import get_inbox, put_ended_epoch, put_inbox


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
    operation, _ = chosen_operation_id(operation_id)
    with manager.noting("accept-epoch", operation_id), manager.session.write(operation) as transaction:
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
        transaction.record("accept-epoch", before=str(inbox.epoch), after=str(epoch), detail=detail)
    return EpochAccepted(operation_id=operation, changed=True, issuer=peer, epoch=epoch, head=base.root.hex())
