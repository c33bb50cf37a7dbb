"""Determines which nodes may still need a distributed key, so that cleanup waits for them or asks for confirmation.

Come here when cleanup keeps a key for the sake of a node. A node holds a key that it acknowledged until it acknowledges
what replaces the key: the list that revokes it, or a later generation. Removed nodes do not count. What a node does
with a key is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Place
from tiktrue_keys.core.dispatch.outbox import KEY, LIST, Dispatch, dispatches, nodes_of
from tiktrue_keys.core.dispatch.peers import NODE, all_progress, roster
from tiktrue_keys.core.dispatch.revocation_lists import keys_on_list
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.key_results import Kept
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.transaction import Snapshot

_SHOWN = 8


@dataclass(frozen=True)
class Holding:
    """Sorted names of nodes: those to which the key is on its way, and those that hold it without a replacement."""

    awaited: tuple[str, ...]
    holders: tuple[str, ...]

    def reason(self, key: ManagedKey, *, confirmed: bool) -> Kept | None:
        """Why the key stays, or None. What is on its way cannot be confirmed away: destroyed, it never arrives."""
        if self.awaited and key.revoked_at is None:
            words = f"it is on its way to {_listed(self.awaited)}"
            return Kept(key, words, remedy="node-behind", about={"node": self.awaited[0]})
        if self.holders and not confirmed:
            lacking = "its revocation" if key.revoked_at is not None else "a later generation"
            words = f"{_listed(self.holders)} may need it: {lacking} has not been acknowledged there"
            return Kept(key, words, remedy="confirm-held")
        return None


def holding_of(view: Snapshot, keys: Iterable[ManagedKey], now: Instant) -> dict[str, Holding]:
    """Return the nodes of each key, by key id, from one pass over every dispatch that was ever queued."""
    if roster(view.rows).count == 0:
        return {}
    chains = [(key, tuple(_later_generations(view, key, now))) for key in keys]
    deliveries = _Deliveries(view, {key_id for key, later in chains for key_id in (key.key_id, *later)})
    return {key.key_id: deliveries.holding(key, later) for key, later in chains}


class _Deliveries:
    """Pairs of key id (one of `relevant`) and node id, in three sets: held, awaited, and known there to be revoked.

    A finished dispatch of an earlier epoch counts as received: whatever a node lacked then was queued again.
    """

    def __init__(self, view: Snapshot, relevant: Set[str]) -> None:
        self._fleet = {node_id: peer for node_id, peer in all_progress(view.rows).items() if peer.role == NODE}
        self._held: set[tuple[str, str]] = set()
        self._awaited: set[tuple[str, str]] = set()
        self._revoked: set[tuple[str, str]] = set()
        counters = roster(view.rows)
        begin = view.audit.first_of_epoch(counters.epoch) if counters.epoch > 1 else 0
        for dispatch in dispatches(view.rows):
            key_ids = _keys_of(view, dispatch) & relevant
            past = dispatch.done and dispatch.audit_size <= begin
            for node_id, place in nodes_of(view.rows, dispatch) if key_ids else ():
                if node_id in self._fleet:
                    pairs = {(key_id, node_id) for key_id in key_ids}
                    self._take(dispatch.kind, pairs, self._fleet[node_id], place, past=past)

    def holding(self, key: ManagedKey, later: Iterable[str]) -> Holding:
        """Return which nodes wait for the key and which hold it. A key revoked on its way may have arrived."""
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

    def _take(self, kind: str, pairs: Set[tuple[str, str]], node: PeerProgress, place: Place, *, past: bool) -> None:
        has_come = past or node.has_acknowledged(place)
        if kind == LIST:
            # Sent again to a node that went back: until it has acknowledged that, it lacks the revocation.
            self._revoked = self._revoked | pairs if has_come else self._revoked - pairs
        elif not has_come:
            self._awaited |= pairs
        elif past or not node.refused(place):
            self._held |= pairs

    def _names(self, node_ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(self._fleet[node_id].name for node_id in node_ids))


def _keys_of(view: Snapshot, dispatch: Dispatch) -> frozenset[str]:
    """Return the keys that a dispatch carries or revokes."""
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
