"""Pins the cards of other keystores, and lists the pinned peers.

Come here for `fleet add`, `fleet list` and `fleet show`; fleet/unpin.py removes peers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.approvals.policy import NODE_ADD
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.dispatch import deliveries, outbox, peers, releases, revocation_lists
from tiktrue_keys.core.dispatch.node_progress import PeerProgress
from tiktrue_keys.core.dispatch.peers import ISSUER, NODE, Peer
from tiktrue_keys.core.dispatch.scopes import scope_text
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.received import keys_from
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.node_ids import node_id_of, parse_name
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.fleet.cards import Card
from tiktrue_keys.fleet.inbox import Inbox, get_inbox, put_inbox
from tiktrue_keys.fleet.issuer_scopes import change_scope, settle_scopes

ADD = "node-add"


@dataclass(frozen=True, kw_only=True)
class PinResult(OperationResult):
    """A peer that was pinned."""

    peer: Peer


def pin(
    manager: KeyManager,
    card: Card,
    *,
    expect: str,
    name: str | None = None,
    role: str | None = None,
    models: Sequence[str] = (),
    keeps: Mapping[str, Sequence[str]] | None = None,
    operation_id: str | None = None,
) -> PinResult:
    """Pin a card whose node id is `expect`, which the caller got over another channel than the card.

    An issuer's keys, revocations and signatures count here, so its card is pinned only with `role="issuer"`; with
    `role="node"` it only gets keys from here. They count for its scope, `models` (ids and `PREFIX*`; the first issuer
    by default all), and for the scope of no other: `keeps` narrows others, by node id. Pinning an issuer again changes
    its scope. Raises RefusedError without the role, when scopes overlap, and when the node ids differ.
    """
    if expect.strip().lower() != card.node_id:
        raise RefusedError(
            f"the card does not have the expected node id {expect[:64]!a}",
            "do not pin it; ask its administrator for the node id that is shown on that machine",
        )
    parse_name(name or card.name)
    _check_role(card, role)
    if models and (role or card.role) != ISSUER:
        raise UsageError("a node has no scope: models are for an issuer", "leave models out", remedy="omit-models")
    kept = {node_id: list(scope) for node_id, scope in (keeps or {}).items()}
    scopes = {"models": list(models), "keeps": kept} if models or kept else {}
    asked = OperationRequest.of(ADD, operation_id, {"node_id": card.node_id, "name": name, "role": role} | scopes)
    do = partial(_pin_issuer, card, name, models, kept) if role == ISSUER else partial(_pin, card, name)
    return once(manager.session, asked, do, _pinned_before)


def _check_role(card: Card, role: str | None) -> None:
    if role is not None and role not in peers.ROLES:
        raise UsageError(f"'{role[:40]}' is not a role", "use node or issuer")
    if card.role == ISSUER and role is None:
        raise RefusedError(
            f"'{card.name}' is an issuer: its keys, its revocations and its signatures would count here",
            "pass role='issuer' to pin it",
            remedy="pin-as-issuer",
        )
    if card.role == NODE and role == ISSUER:
        words = f"the card of '{card.name}' is a node's, not an issuer's"
        raise RefusedError(words, "leave the role out", remedy="omit-role")


def _pin(card: Card, name: str | None, operation: Operation) -> PinResult:
    with operation.write() as transaction:
        _must_be_foreign(card, transaction)
        outbox.restart_epoch(transaction)
        new = _peer(card, name, NODE, transaction)
        peer = peers.add_peer(transaction.rows, new, transaction.document.epoch)
        _record(transaction, operation, peer)
        own = releases.own_releases(transaction.rows)
        revocation_lists.publish(transaction, releases=own, node_ids=[peer.node_id])
        return PinResult(operation_id=operation.id, changed=True, peer=peer)


def _pin_issuer(
    card: Card, name: str | None, models: Sequence[str], keeps: Mapping[str, Sequence[str]], operation: Operation
) -> PinResult:
    with operation.write() as transaction:
        _must_be_foreign(card, transaction)
        outbox.restart_epoch(transaction)
        known = peers.get_peer(transaction.rows, card.node_id)
        if known is not None and known.role == ISSUER and not known.retired_at and models:
            scope = settle_scopes(transaction, card.node_id, models, keeps)
            must_be_approved(transaction, _proposal(known, {"node_id": known.node_id, "models": scope_text(scope)}))
            peer = change_scope(transaction, known, scope)
            operation.remember(transaction, [[peer.node_id]])
            return PinResult(operation_id=operation.id, changed=True, peer=peer)
        new = replace(_peer(card, name, ISSUER, transaction), scope=())
        peer = peers.add_peer(transaction.rows, new, transaction.document.epoch)
        peer = replace(peer, scope=settle_scopes(transaction, card.node_id, models, keeps))
        peers.put_peer(transaction.rows, peer)
        if get_inbox(transaction.rows, peer.node_id) is None:
            put_inbox(transaction.rows, Inbox(peer.node_id, card.epoch))
        _record(transaction, operation, peer)
        return PinResult(operation_id=operation.id, changed=True, peer=peer)


def _must_be_foreign(card: Card, transaction: Transaction) -> None:
    if card.node_id == node_id_of(transaction.document.identity_key, transaction.document.identity_hpke):
        raise RefusedError("the card is this keystore's own", "add it on the other machine")


def _record(transaction: Transaction, operation: Operation, peer: Peer) -> None:
    detail: dict[str, object] = {
        "node_id": peer.node_id,
        "name": peer.name,
        "role": peer.role,
        "keystore_id": peer.keystore_id,
    }
    if peer.scope is not None:
        detail["models"] = scope_text(peer.scope)
    must_be_approved(transaction, _proposal(peer, detail))
    transaction.record(ADD, detail=detail)
    operation.remember(transaction, [[peer.node_id]])


def _proposal(peer: Peer, detail: dict[str, object]) -> Proposal:
    return Proposal(NODE_ADD, f"{peer.name} {peer.node_id}", detail)


def _pinned_before(first: FirstRun) -> PinResult:
    ((node_id,),) = first.items
    with first.read() as (view, _):
        return PinResult(operation_id=first.operation_id, changed=False, peer=peers.find_peer(view.rows, node_id))


def pinned(manager: KeyManager) -> list[tuple[Peer, PeerProgress]]:
    """Return every pinned peer with its progress."""
    with manager.session.read() as (view, _):
        progress = peers.all_progress(view.rows)
        return [(peer, progress[peer.node_id]) for peer in peers.peers(view.rows)]


def describe(manager: KeyManager, argument: str) -> tuple[Peer, PeerProgress, list[str]]:
    """Return one peer, its progress, and the keys that were sent to a node or that came from an issuer."""
    with manager.session.read() as (view, now):
        peer = peers.find_peer(view.rows, argument, retired=True)
        return peer, peers.progress_of(view.rows, peer), keys_held(view.rows, peer, now)


def keys_held(rows: Rows, peer: Peer, now: Instant) -> list[str]:
    """Return the ids of the keys that were sent to a node, or that came from an issuer."""
    if peer.role == NODE:
        return deliveries.keys_sent_to(rows, peer.node_id)
    return sorted(stored.key.key_id for stored in keys_from(rows, peer.origin, now))


def _peer(card: Card, name: str | None, role: str, transaction: Transaction) -> Peer:
    return Peer(
        node_id=card.node_id,
        name=name or card.name,
        role=role,
        keystore_id=card.keystore_id,
        epoch=card.epoch,
        identity_key=card.identity_key,
        identity_hpke=card.identity_hpke,
        audit_key=card.audit_key,
        added_at=transaction.now,
        recovery_key=card.recovery_key,
    )
