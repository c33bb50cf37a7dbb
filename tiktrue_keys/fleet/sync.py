"""`fleet sync` and `distribute`: a round of an issuer, and the operation that queues keys for nodes.

A round reads acknowledgements, promotes successors, renews revocation lists and sends the outbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.node_streams import EVERYTHING, begin_streams
from tiktrue_keys.core.dispatch.peers import NODE
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.authority import must_be_made_here
from tiktrue_keys.core.keys.keyring import find_key, get_key
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP, ManagedKey, Status
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import FirstRun, Operation, Repeatable, once, repeatable
from tiktrue_keys.core.operations.heartbeat import renew_heartbeat
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import RefusedError, UnavailableError, UsageError
from tiktrue_keys.fleet.collect import Collected, collect_acknowledgements
from tiktrue_keys.fleet.housekeeping import promote_ready, renew_list
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.refusals import accept_refusals as accept
from tiktrue_keys.fleet.send import send_pending
from tiktrue_keys.fleet.status import FleetStatus, fleet_status
from tiktrue_keys.fleet.transports.interface import Transport

_SHIPPED = (Status.PENDING, Status.ACTIVE, Status.ROTATING)
_SHOWN = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


@dataclass(frozen=True, kw_only=True)
class Distributed(OperationResult):
    """The keys that were queued, and the names of their nodes."""

    keys: tuple[ManagedKey, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Synced(OperationResult):
    """The result of one sync. `status` is the state of the fleet after it."""

    collected: tuple[str, ...] = ()
    envelopes: int = 0
    promoted: tuple[ManagedKey, ...] = ()
    renewed: bool = False
    outage: UnavailableError | None = None
    status: FleetStatus


def distribute(
    manager: KeyManager,
    keys: Sequence[str],
    *,
    to: Sequence[str] = (),
    every_node: bool = False,
    operation_id: str | None = None,
) -> Distributed:
    """Queue keys (KEY arguments) for nodes. Without any, queue the keys in use that some node was sent before.

    A key that no node was ever sent must be named: it never leaves this keystore by default.
    Every KEY and NODE is resolved before anything is queued. Raises UsageError without a recipient, and RefusedError
    when no node is pinned and for a key that came from an issuer or is neither pending, active nor rotating.
    """
    if bool(to) == every_node:
        raise UsageError("no recipient", "pass either to or every_node=True", remedy="no-recipient")
    asked = OperationRequest.of("distribute", operation_id, {"keys": [*keys], "to": [*to], "every_node": every_node})
    return once(manager.session, asked, partial(_distribute, keys, to), _distributed)


def _distribute(keys: Sequence[str], to: Sequence[str], operation: Operation) -> Distributed:
    with operation.write() as transaction:
        rows = transaction.rows
        chosen = {peer.node_id: peer.name for peer in (peers.find_peer(rows, each, NODE) for each in to)}
        if not to:
            chosen = {node: each.name for node, each in peers.all_progress(rows).items() if each.role == NODE}
        if not chosen:
            raise RefusedError("no node is pinned here", "pin a node's card", remedy="pin-node")
        found = [find_key(rows, each, transaction.now).key for each in keys] or _fleet_keys(rows, transaction.now)
        for key in found:
            _must_be_shipped(rows, key)
        for key in found:
            detail = outbox.described("key", len(chosen), [*chosen.values()])
            transaction.record("queue", key_id=key.key_id, detail=detail)
            outbox.queue(transaction, outbox.KEY, chosen, key_id=key.key_id, generation=key.generation)
        nodes = tuple(sorted(chosen.values()))
        operation.remember(transaction, [["key", key.key_id] for key in found] + [["node", name] for name in nodes])
    notices = () if found else (_nothing_queued(),)
    return Distributed(operation_id=operation.id, changed=bool(found), warnings=notices, keys=tuple(found), nodes=nodes)


def _nothing_queued() -> Notice:
    words = "no key was queued: none of the keys in use was ever sent to a node"
    return Notice("nothing-queued", words, remedy="name-key-to-send")


def _distributed(first: FirstRun) -> Distributed:
    return Distributed(
        operation_id=first.operation_id,
        changed=False,
        keys=first.keys(key_id for kind, key_id in first.items if kind == "key"),
        nodes=tuple(name for kind, name in first.items if kind == "node"),
    )


def sync(
    manager: KeyManager,
    transport: Transport,
    *,
    license_key: License | None = None,
    promote_anyway: bool = False,
    overlap: Seconds = DEFAULT_OVERLAP,
    resend: Sequence[str] = (),
    accept_refusals: Sequence[str] = (),
    patient: bool = False,
    operation_id: str | None = None,
) -> Synced:
    """Run one round: read acknowledgements, promote ready successors, renew lists at half their validity, and send.

    The nodes `resend` (names or node ids) are sent everything once more. What the nodes `accept_refusals` are known to
    have refused is left so, and stops being a finding. Everything that it records has its operation id. Repeated under
    the same id, it does what is due then.
    """
    wanted = _Wanted(promote_anyway, overlap, tuple(resend), tuple(accept_refusals))
    return _round(manager, transport, _operation(manager, wanted, operation_id), license_key, wanted, patient=patient)


@dataclass(frozen=True)
class _Wanted:
    promote_anyway: bool
    overlap: Seconds
    resend: tuple[str, ...] = ()
    accept_refusals: tuple[str, ...] = ()


def _operation(manager: KeyManager, wanted: _Wanted, operation_id: str | None) -> Repeatable:
    arguments: dict[str, object] = {"promote_anyway": wanted.promote_anyway, "overlap": wanted.overlap}
    arguments |= {"resend": [*wanted.resend]} if wanted.resend else {}
    arguments |= {"accept_refusals": [*wanted.accept_refusals]} if wanted.accept_refusals else {}
    return repeatable(manager.session, "fleet-sync", operation_id, arguments)


def _round(
    manager: KeyManager,
    transport: Transport,
    operation: Repeatable,
    license_key: License | None,
    wanted: _Wanted,
    *,
    patient: bool = False,
) -> Synced:
    again, accepted = _resolved(manager, wanted.resend), _resolved(manager, wanted.accept_refusals)
    notices = renew_heartbeat(manager.session)
    restarted = _restart(manager, operation)
    has_accepted = bool(accepted) and accept(operation, accepted)
    outage: UnavailableError | None = None
    try:
        collected = collect_acknowledgements(manager, transport, operation=operation)
    except UnavailableError as error:
        collected, outage = Collected(operation_id=operation.id, changed=False), error
    if again:
        _send_everything_again(operation, again)
    promoted = promote_ready(manager, operation, anyway=wanted.promote_anyway, overlap=wanted.overlap)
    renewed = renew_list(manager, operation)
    sent = send_pending(
        manager, transport, license_key=license_key, patient=patient, challenge_all=True, operation=operation
    )
    if outage is None and sent.outage is None:
        _tidy(manager, transport)
    queued = restarted or has_accepted or bool(again) or bool(promoted.keys) or renewed
    return Synced(
        operation_id=operation.id,
        changed=queued or collected.changed or sent.changed,
        warnings=(*collected.warnings, *promoted.warnings, *sent.warnings, *notices),
        collected=collected.acknowledged,
        envelopes=sent.envelopes,
        promoted=promoted.keys,
        renewed=renewed,
        outage=outage or sent.outage,
        status=fleet_status(manager),
    )


def sync_until(
    manager: KeyManager,
    transport: Transport,
    seconds: float,
    *,
    license_key: License | None = None,
    promote_anyway: bool = False,
    overlap: Seconds = DEFAULT_OVERLAP,
    resend: Sequence[str] = (),
    accept_refusals: Sequence[str] = (),
    operation_id: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Synced:
    """Sync repeatedly, with growing pauses, until every node is up to date or `seconds` have passed."""
    wanted = _Wanted(promote_anyway, overlap, tuple(resend), tuple(accept_refusals))
    operation = _operation(manager, wanted, operation_id)
    end, pause = clock() + seconds, _FIRST_PAUSE
    rounds: list[Synced] = []
    while True:
        rounds.append(_round(manager, transport, operation, license_key, wanted))
        wanted = replace(wanted, resend=(), accept_refusals=())
        left = end - clock()
        if left <= 0 or (rounds[-1].status.error() is None and rounds[-1].outage is None):
            return _together(rounds)
        sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _together(rounds: Sequence[Synced]) -> Synced:
    last = rounds[-1]
    return Synced(
        operation_id=last.operation_id,
        changed=any(each.changed for each in rounds),
        warnings=_unique(notice for each in rounds for notice in each.warnings if notice.code != "outage")
        + tuple(notice for notice in last.warnings if notice.code == "outage"),
        collected=tuple(sorted({name for each in rounds for name in each.collected})),
        envelopes=sum(each.envelopes for each in rounds),
        promoted=tuple(key for each in rounds for key in each.promoted),
        renewed=any(each.renewed for each in rounds),
        outage=last.outage,
        status=last.status,
    )


def _unique(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    return tuple(dict.fromkeys(notices))


def _resolved(manager: KeyManager, nodes: Sequence[str]) -> dict[str, str]:
    """Return the names of these nodes by node id. Raises NotFoundError for one that is not pinned."""
    if not nodes:
        return {}
    with manager.session.read() as (view, _):
        return {peer.node_id: peer.name for peer in (peers.find_peer(view.rows, each, NODE) for each in nodes)}


def _restart(manager: KeyManager, operation: Repeatable) -> bool:
    """In a new epoch, queue again what nodes lack; return whether there was one.

    What was queued before it vouches for a head that the new epoch does not begin with.
    """
    with manager.session.read() as (view, _):
        if not outbox.is_behind_epoch(view):
            return False
    with operation.write() as transaction:
        names = sorted(each.name for each in peers.all_progress(transaction.rows).values() if each.role == NODE)
        transaction.record("resend", detail={"nodes": names[:_SHOWN], "count": len(names)})
        outbox.restart_epoch(transaction)
    return True


def _send_everything_again(operation: Repeatable, nodes: Mapping[str, str]) -> None:
    """Begin the next stream of these nodes, from the head that each acknowledged last."""
    with operation.write() as transaction:
        fleet = peers.all_progress(transaction.rows)
        transaction.record("resend", detail={"nodes": sorted(nodes.values())[:_SHOWN], "count": len(nodes)})
        sizes = {node_id: fleet[node_id].acked_size for node_id in nodes}
        begin_streams(transaction, dict.fromkeys(nodes, EVERYTHING), sizes, went_back=False)


def _tidy(manager: KeyManager, transport: Transport) -> None:
    with manager.session.read() as (view, _):
        epoch, issuer = view.document.epoch, own_node_id(view.document)
        identity_key = view.document.identity_key
        fleet = {node_id: each for node_id, each in peers.all_progress(view.rows).items() if each.role == NODE}
    if fleet:
        transport.tidy(
            issuer, {node_id: (epoch, each.stream, each.acked) for node_id, each in fleet.items()}, identity_key
        )


def _fleet_keys(rows: Rows, now: Instant) -> list[ManagedKey]:
    """Return every key that was ever sent to a node and is still in use, by model and generation."""
    found: dict[str, ManagedKey] = {}
    for dispatch, _ in outbox.all_dispatches_of_keys(rows):
        stored = get_key(rows, dispatch.key_id, now)
        if stored is not None and stored.key.status in _SHIPPED:
            found[stored.key.key_id] = stored.key
    return sorted(found.values(), key=lambda key: (key.model_id, key.generation))


def _must_be_shipped(rows: Rows, key: ManagedKey) -> None:
    must_be_made_here(key)
    if key.status not in _SHIPPED:
        raise RefusedError(
            f"key {key.key_id} is {key.status.value} and cannot be sent",
            "rewrap the model to a current key for nodes that lack the old one",
            key_id=key.key_id,
        )
