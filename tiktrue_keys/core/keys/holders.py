"""Which nodes still count on a key that was distributed: what cleanup waits for, or has confirmed.

A node holds a key that it acknowledged, until it has acknowledged what takes the key's place there: the list that
revokes it, or a later generation. Nodes that were removed count no more. What it does not handle: what a node does
with the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from tiktrue_keys.core.dispatch.outbox import KEY, LIST, Dispatch, dispatches, nodes_of
from tiktrue_keys.core.dispatch.peers import NODE, PeerProgress, all_progress, roster
from tiktrue_keys.core.dispatch.revocation_lists import keys_on_list
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.transaction import Snapshot

_SHOWN = 8


@dataclass(frozen=True)
class Holding:
    """Names of nodes, sorted: to whom the key is on its way, and who holds it with nothing in its place."""

    awaited: tuple[str, ...]
    holders: tuple[str, ...]

    def reason(self, key: ManagedKey, *, confirmed: bool) -> str | None:
        """Why the key stays, or None. What is on its way cannot be confirmed away: destroyed, it never arrives."""
        if self.awaited and key.revoked_at is None:
            return (
                f"it is on its way to {_listed(self.awaited)}: run fleet sync, or fleet remove for a node that is gone"
            )
        if self.holders and not confirmed:
            lacking = "its revocation" if key.revoked_at is not None else "a later generation"
            return (
                f"{_listed(self.holders)} may need it, without word of {lacking} from there:"
                f" give --confirm {key.key_id} when nothing there does"
            )
        return None


def holding_of(view: Snapshot, keys: Iterable[ManagedKey], now: Instant) -> dict[str, Holding]:
    """Every one of the keys with its nodes, from one pass over all that was ever queued."""
    if roster(view.rows).count == 0:
        return {}
    chains = [(key, tuple(_later_generations(view, key, now))) for key in keys]
    deliveries = _Deliveries(view, {key_id for key, later in chains for key_id in (key.key_id, *later)})
    return {key.key_id: deliveries.holding(key, later) for key, later in chains}


class _Deliveries:
    """Pairs of key id (one of `relevant`) and node id: acknowledged, not acknowledged yet, known there to be revoked.

    Numbers of an epoch that is over say nothing any more: what a node lacked then was queued again.
    """

    def __init__(self, view: Snapshot, relevant: Set[str]) -> None:
        self._fleet = {node_id: each for node_id, each in all_progress(view.rows).items() if each.role == NODE}
        self._held: set[tuple[str, str]] = set()
        self._awaited: set[tuple[str, str]] = set()
        self._revoked: set[tuple[str, str]] = set()
        counters = roster(view.rows)
        begin = view.audit.first_of_epoch(counters.epoch) if counters.epoch > 1 else 0
        for dispatch in dispatches(view.rows):
            key_ids = _keys_of(view, dispatch) & relevant
            past = dispatch.done and dispatch.audit_size <= begin
            for node_id, envelope in nodes_of(view.rows, dispatch) if key_ids else ():
                if node_id in self._fleet:
                    pairs = {(key_id, node_id) for key_id in key_ids}
                    self._take(dispatch.kind, pairs, self._fleet[node_id], envelope, past=past)

    def holding(self, key: ManagedKey, later: Iterable[str]) -> Holding:
        """Who of the nodes waits for the key, who holds it. What was revoked on its way may have arrived."""
        holds = self._held if key.revoked_at is None else self._held | self._awaited
        holders = [
            node_id
            for node_id in self._fleet
            if (key.key_id, node_id) in holds
            and (key.key_id, node_id) not in self._revoked
            and not any((other, node_id) in self._held for other in later)
        ]
        awaited = [node_id for node_id in self._fleet if (key.key_id, node_id) in self._awaited]
        return Holding(self._names(awaited), self._names(holders))

    def _take(self, kind: str, pairs: Set[tuple[str, str]], node: PeerProgress, envelope: int, *, past: bool) -> None:
        if kind == LIST:
            self._revoked |= pairs if past or envelope <= node.acked else set()
        elif not past and envelope > node.acked:
            self._awaited |= pairs
        elif past or not node.refused(envelope):
            self._held |= pairs

    def _names(self, node_ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(self._fleet[node_id].name for node_id in node_ids))


def _keys_of(view: Snapshot, dispatch: Dispatch) -> frozenset[str]:
    """The keys that a dispatch brings, or revokes."""
    if dispatch.kind == LIST:
        return frozenset(keys_on_list(view.rows, dispatch.list_number))
    return frozenset([dispatch.key_id] if dispatch.kind == KEY else [])


def _later_generations(view: Snapshot, key: ManagedKey, now: Instant) -> Iterator[str]:
    successor = key.successor
    while successor is not None:
        yield successor
        stored = get_key(view.rows, successor, now)
        successor = stored.key.successor if stored else None


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN]) + " ..." * (len(names) > _SHOWN)
    return f"node{'s' * (len(names) > 1)} {shown}"
