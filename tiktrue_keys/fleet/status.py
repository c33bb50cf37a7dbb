"""Reports how far the fleet is: `[n/m]` for each open dispatch, the nodes that are behind, and conflicting histories.

Come here for `fleet status` and its exit code.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.distribution_request import ACKNOWLEDGED, REFUSED
from tiktrue_keys.core.dispatch.outbox import KEY, LIST, Dispatch
from tiktrue_keys.core.dispatch.peers import NODE, PeerProgress
from tiktrue_keys.core.keys import promotion
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, PartialError, TikTrueKeysError
from tiktrue_keys.fleet.backlog import epoch_base
from tiktrue_keys.fleet.envelopes import Head
from tiktrue_keys.fleet.own_identity import own_node_id

_SHOWN = 8


@dataclass(frozen=True)
class OnItsWay:
    """One dispatch that some nodes have not acknowledged: the counts, and the names of those nodes with their state."""

    dispatch: Dispatch
    acknowledged: int
    total: int
    missing: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """Return the name of the dispatch."""
        if self.dispatch.kind == KEY:
            return self.dispatch.key_id
        if self.dispatch.kind == LIST:
            return f"revocation list {self.dispatch.list_number}"
        return f"promotion of {self.dispatch.key_id}"


@dataclass(frozen=True)
class FleetStatus:
    """The fleet as this keystore knows it.

    `base` is the head with which its epoch began; nodes accept the epoch by it.
    """

    node_id: str
    epoch: int
    base: Head
    head: Head
    nodes: tuple[PeerProgress, ...]
    on_its_way: tuple[OnItsWay, ...]
    waiting: tuple[Waiting, ...]

    @property
    def laggards(self) -> tuple[PeerProgress, ...]:
        """Return the nodes that have not acknowledged everything."""
        return tuple(each for each in self.nodes if each.acked < each.issued)

    @property
    def conflicts(self) -> tuple[PeerProgress, ...]:
        """Return the nodes that hold an audit history that contradicts this keystore's."""
        return tuple(each for each in self.nodes if each.conflict)

    def error(self) -> TikTrueKeysError | None:
        """Return IntegrityError for a conflict, PartialError while nodes are behind, None when all are up to date."""
        if self.conflicts:
            first = self.conflicts[0]
            nodes = "1 node holds" if len(self.conflicts) == 1 else f"{len(self.conflicts)} nodes hold"
            return IntegrityError(
                f"{nodes} a conflicting audit history; '{first.name}': {first.conflict}",
                "it was copied back from an old state: copy the newest state back, or restore it as a new epoch",
            )
        if self.laggards:
            names = ", ".join(each.name for each in self.laggards[:_SHOWN]) + " ..." * (len(self.laggards) > _SHOWN)
            done = len(self.nodes) - len(self.laggards)
            words = f"[{done}/{len(self.nodes)}] nodes are up to date; behind: {names}"
            return PartialError(words, "sync the fleet", remedy="sync-fleet")
        return None


def fleet_status(manager: KeyManager, argument: str | None = None) -> FleetStatus:
    """Return the status of the fleet, or of one node."""
    with manager.session.read() as (view, now):
        fleet = {key: each for key, each in peers.all_progress(view.rows).items() if each.role == NODE}
        if argument is not None:
            peer = peers.find_peer(view.rows, argument, NODE)
            fleet = {peer.node_id: fleet[peer.node_id]}
        return FleetStatus(
            node_id=own_node_id(view.document),
            epoch=view.document.epoch,
            base=epoch_base(view),
            head=Head(view.audit.size, view.audit.head()),
            nodes=tuple(fleet.values()),
            on_its_way=_on_its_way(view, fleet),
            waiting=tuple(promotion.waiting(view.rows, now)),
        )


def _on_its_way(view: Snapshot, fleet: dict[str, PeerProgress]) -> tuple[OnItsWay, ...]:
    found = []
    for dispatch in outbox.open_dispatches(view.rows):
        states = [
            (fleet[node_id].name, outbox.state_of(fleet[node_id], number))
            for node_id, number in outbox.nodes_of(view.rows, dispatch)
            if node_id in fleet
        ]
        missing = tuple(each for each in states if each[1] not in (ACKNOWLEDGED, REFUSED))
        if missing:
            found.append(OnItsWay(dispatch, len(states) - len(missing), len(states), missing))
    return tuple(found)
