"""Pins the cards of other keystores, and removes and lists the pinned peers.

Come here for `fleet add`, `fleet remove`, `fleet list` and `fleet show`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tiktrue_keys.core.containers.registry import ContainerRecord, containers_of
from tiktrue_keys.core.dispatch import outbox, peers, releases, revocation_lists
from tiktrue_keys.core.dispatch.peers import ISSUER, NODE, Peer, PeerProgress
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.fleet.cards import Card, node_id_of
from tiktrue_keys.fleet.inbox import Inbox, get_inbox, put_inbox

ADD = "node-add"
REMOVE = "node-remove"


@dataclass(frozen=True, kw_only=True)
class PinResult(OperationResult):
    """A peer that was pinned."""

    peer: Peer


@dataclass(frozen=True, kw_only=True)
class UnpinResult(OperationResult):
    """A peer that was removed, or would be. `keys` were sent to it; `containers` open with those keys."""

    peer: Peer
    keys: tuple[str, ...]
    containers: tuple[ContainerRecord, ...]
    dry_run: bool = False


def pin(
    manager: KeyManager,
    card: Card,
    *,
    expect: str,
    name: str | None = None,
    role: str | None = None,
    operation_id: str | None = None,
) -> PinResult:
    """Pin a card whose node id is `expect`, which the caller got over another channel than the card.

    An issuer's keys, revocations and signatures count here, so its card is pinned only with `role="issuer"`; with
    `role="node"` it only gets keys from here. Raises RefusedError without that, and when the node ids differ.
    """
    if expect.strip().lower() != card.node_id:
        raise RefusedError(
            f"the card's node id is {card.node_id}, not the expected {expect[:64]!a}",
            "do not pin it; ask the card's administrator for the node id",
        )
    peers.parse_name(name or card.name)
    _check_role(card, role)
    asked = OperationRequest.of(ADD, operation_id, {"node_id": card.node_id, "name": name, "role": role})
    return once(manager.session, asked, partial(_pin, card, name, role), _pinned_before)


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


def _pin(card: Card, name: str | None, role: str | None, operation: Operation) -> PinResult:
    with operation.write() as transaction:
        if card.node_id == node_id_of(transaction.document.identity_key, transaction.document.identity_hpke):
            raise RefusedError("the card is this keystore's own", "add it on the other machine")
        outbox.restart_epoch(transaction)
        chosen = role or card.role
        peer = peers.add_peer(transaction.rows, _peer(card, name, chosen, transaction), transaction.document.epoch)
        if chosen == ISSUER and get_inbox(transaction.rows, peer.node_id) is None:
            put_inbox(transaction.rows, Inbox(peer.node_id, card.epoch))
        detail = {"node_id": peer.node_id, "name": peer.name, "role": peer.role, "keystore_id": peer.keystore_id}
        transaction.record(ADD, detail=detail)
        operation.remember(transaction, [[peer.node_id]])
        if chosen == NODE:
            own = releases.own_releases(transaction.rows)
            revocation_lists.publish(transaction, releases=own, node_ids=[peer.node_id])
        return PinResult(operation_id=operation.id, changed=True, peer=peer)


def _pinned_before(first: FirstRun) -> PinResult:
    ((node_id,),) = first.items
    with first.read() as (view, _):
        return PinResult(operation_id=first.operation_id, changed=False, peer=peers.find_peer(view.rows, node_id))


def unpin(
    manager: KeyManager,
    argument: str,
    *,
    compromised: bool = False,
    dry_run: bool = False,
    operation_id: str | None = None,
) -> UnpinResult:
    """Remove a peer.

    It keeps the keys that it was sent; with `compromised` the result warns that they must be revoked.
    """
    asked = OperationRequest.of(REMOVE, operation_id, {"peer": argument, "compromised": compromised})
    do = partial(_planned if dry_run else _unpin, manager, argument, compromised)
    return once(manager.session, asked, do, partial(_unpinned_before, compromised))


def _planned(manager: KeyManager, argument: str, compromised: bool, operation: Operation) -> UnpinResult:
    with manager.session.read() as (view, _):
        peer = peers.find_peer(view.rows, argument)
        return _unpinned(operation.id, peer, *_held(view.rows, peer), compromised=compromised, dry_run=True)


def _unpin(_: KeyManager, argument: str, compromised: bool, operation: Operation) -> UnpinResult:
    with operation.write() as transaction:
        peer = peers.find_peer(transaction.rows, argument)
        keys, containers = _held(transaction.rows, peer)
        peers.remove_peer(transaction.rows, peer)
        outbox.close_done(transaction.rows)
        detail = {"node_id": peer.node_id, "name": peer.name, "compromised": compromised, "keys": len(keys)}
        transaction.record(REMOVE, detail=detail)
        operation.remember(transaction, [[peers.peer_text(peer)], *([key_id] for key_id in keys)])
    return _unpinned(operation.id, peer, keys, containers, compromised=compromised, changed=True)


def _unpinned_before(compromised: bool, first: FirstRun) -> UnpinResult:
    ((peer,), *keys) = first.items
    key_ids = [key_id for (key_id,) in keys]
    with first.read() as (view, _):
        containers = _opened_by(view.rows, key_ids)
    return _unpinned(first.operation_id, peers.peer_of_text(peer), key_ids, containers, compromised=compromised)


def _unpinned(
    operation_id: str,
    peer: Peer,
    keys: Sequence[str],
    containers: Sequence[ContainerRecord],
    *,
    compromised: bool,
    changed: bool = False,
    dry_run: bool = False,
) -> UnpinResult:
    warnings: list[Notice] = []
    if compromised and keys:
        words = (
            f"'{peer.name}' held {plural(len(keys), 'key')} for {plural(len(containers), 'container')}: "
            "a rewrap is not enough, because the data key stays the same"
        )
        warnings.append(Notice("compromised-keys", words, remedy="compromised-keys"))
    return UnpinResult(
        operation_id=operation_id,
        changed=changed,
        warnings=tuple(warnings),
        peer=peer,
        keys=tuple(keys),
        containers=tuple(containers),
        dry_run=dry_run,
    )


def pinned(manager: KeyManager) -> list[tuple[Peer, PeerProgress]]:
    """Return every pinned peer with its progress."""
    with manager.session.read() as (view, _):
        progress = peers.all_progress(view.rows)
        return [(peer, progress[peer.node_id]) for peer in peers.peers(view.rows)]


def describe(manager: KeyManager, argument: str) -> tuple[Peer, PeerProgress, list[str]]:
    """Return one peer, its progress, and the keys that were sent to it."""
    with manager.session.read() as (view, _):
        peer = peers.find_peer(view.rows, argument)
        return peer, peers.progress_of(view.rows, peer), outbox.keys_sent_to(view.rows, peer.node_id)


def _held(rows: Rows, peer: Peer) -> tuple[list[str], list[ContainerRecord]]:
    keys = outbox.keys_sent_to(rows, peer.node_id)
    return keys, _opened_by(rows, keys)


def _opened_by(rows: Rows, keys: Iterable[str]) -> list[ContainerRecord]:
    found = {(record.file_id, record.path): record for key_id in keys for record in containers_of(rows, key_id)}
    return _by_path(found.values())


def _by_path(records: Iterable[ContainerRecord]) -> list[ContainerRecord]:
    return sorted(records, key=lambda record: (record.path, record.file_id))


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
