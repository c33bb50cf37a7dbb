"""Removes pinned peers. Come here for `fleet remove`: what is left of a node, of an issuer, and of a compromised one.

A node keeps the keys that it was sent. An issuer that is removed is retired: what it has signed goes on counting for
containers that the registry or its last release names, and its keys only decrypt. Those of a compromised issuer are
revoked, and its signatures count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tiktrue_keys.core.containers.registry import ContainerRecord, containers_of
from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keys.received import end_keys_of, keys_from
from tiktrue_keys.core.keys.revocation import revoke_key
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.pin import keys_held

REMOVE = "node-remove"
COMPROMISED = "its issuer was compromised"


@dataclass(frozen=True, kw_only=True)
class UnpinResult(OperationResult):
    """A peer that was removed, or would be; `containers` open with `keys`, which were sent to it or came from it."""

    peer: Peer
    keys: tuple[str, ...]
    containers: tuple[ContainerRecord, ...]
    dry_run: bool = False


def unpin(
    manager: KeyManager,
    argument: str,
    *,
    compromised: bool = False,
    dry_run: bool = False,
    operation_id: str | None = None,
) -> UnpinResult:
    """Remove a peer.

    A node keeps the keys that it was sent; with `compromised` the result warns that they must be revoked. The keys of
    an issuer only decrypt from then on; with `compromised` they are revoked, also if the issuer was removed before.
    Raises RefusedError for an issuer that was removed, unless it is now called compromised.
    """
    asked = OperationRequest.of(REMOVE, operation_id, {"peer": argument, "compromised": compromised})
    do = partial(_planned if dry_run else _unpin, manager, argument, compromised)
    return once(manager.session, asked, do, partial(_unpinned_before, compromised))


def _planned(manager: KeyManager, argument: str, compromised: bool, operation: Operation) -> UnpinResult:
    with manager.session.read() as (view, now):
        peer = _peer(view.rows, argument, compromised)
        keys = keys_held(view.rows, peer, now)
        containers = _opened_by(view.rows, keys)
        return _unpinned(operation.id, peer, keys, containers, compromised=compromised, dry_run=True)


def _unpin(_: KeyManager, argument: str, compromised: bool, operation: Operation) -> UnpinResult:
    with operation.write() as transaction:
        rows = transaction.rows
        peer = _peer(rows, argument, compromised)
        keys = keys_held(rows, peer, transaction.now)
        containers = _opened_by(rows, keys)
        detail = {"node_id": peer.node_id, "name": peer.name, "compromised": compromised, "keys": len(keys)}
        transaction.record(REMOVE, detail=detail)
        if peer.role == ISSUER:
            peer = peers.retire_issuer(rows, peer, transaction.now, compromised=compromised)
            _end_keys(transaction, peer)
        else:
            peers.remove_peer(rows, peer)
        outbox.close_done(rows)
        operation.remember(transaction, [[peers.peer_text(peer)], *([key_id] for key_id in keys)])
    return _unpinned(operation.id, peer, keys, containers, compromised=compromised, changed=True)


def _end_keys(transaction: Transaction, issuer: Peer) -> None:
    if not issuer.compromised_at:
        end_keys_of(transaction, issuer.origin)
        return
    for stored in keys_from(transaction.rows, issuer.origin, transaction.now):
        if stored.key.status not in (Status.REVOKED, Status.DESTROYED):
            revoke_key(transaction, stored, COMPROMISED)


def _peer(rows: Rows, argument: str, compromised: bool) -> Peer:
    peer = peers.find_peer(rows, argument, retired=True)
    if peer.compromised_at or (peer.retired_at and not compromised):
        raise RefusedError(f"issuer '{peer.name}' was removed already", remedy="list-peers")
    return peer


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
    return UnpinResult(
        operation_id=operation_id,
        changed=changed,
        warnings=_warnings(peer, keys, containers) if compromised and keys else (),
        peer=peer,
        keys=tuple(keys),
        containers=tuple(containers),
        dry_run=dry_run,
    )


def _warnings(peer: Peer, keys: Sequence[str], containers: Sequence[ContainerRecord]) -> tuple[Notice, ...]:
    if peer.role == ISSUER:
        words = (
            f"{plural(len(keys), 'key')} of '{peer.name}' revoked: {plural(len(containers), 'container')} cannot be"
            " opened any more"
        )
        return (Notice("compromised-keys", words, remedy="compromised-issuer"),) if containers else ()
    words = (
        f"'{peer.name}' held {plural(len(keys), 'key')} for {plural(len(containers), 'container')}: "
        "a rewrap is not enough, because the data key stays the same"
    )
    return (Notice("compromised-keys", words, remedy="compromised-keys"),)


def _opened_by(rows: Rows, keys: Iterable[str]) -> list[ContainerRecord]:
    found = {(record.file_id, record.path): record for key_id in keys for record in containers_of(rows, key_id)}
    return sorted(found.values(), key=lambda record: (record.path, record.file_id))
