"""Reports how far the fleet is: `[n/m]` for each open dispatch, the state of each node, and conflicting histories.

Come here for `fleet status` and its exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiktrue_keys.core.dispatch import deliveries, outbox, peers
from tiktrue_keys.core.dispatch.distribution_request import ACKNOWLEDGED, REFUSED
from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Refused
from tiktrue_keys.core.dispatch.outbox import KEY, LIST, Dispatch
from tiktrue_keys.core.dispatch.peers import ISSUER, NODE, Peer
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys import promotion
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keys.standing_refusals import standing_refusals
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
    """The fleet as this keystore knows it at `now`.

    `base` is the head with which its epoch began; nodes accept the epoch by it. `unrevoked` are the ids of the nodes
    that have not acknowledged a revocation, `refused` the refusals that matter by node id; `issuers` are the pinned
    ones, from which keys come here.
    """

    node_id: str
    epoch: int
    base: Head
    head: Head
    nodes: tuple[PeerProgress, ...]
    on_its_way: tuple[OnItsWay, ...]
    waiting: tuple[Waiting, ...]
    now: Instant
    unrevoked: frozenset[str] = frozenset()
    issuers: tuple[Peer, ...] = ()
    refused: Mapping[str, tuple[Refused, ...]] = field(default_factory=dict, hash=False)

    @property
    def laggards(self) -> tuple[PeerProgress, ...]:
        """Return the nodes that have not acknowledged everything."""
        return tuple(each for each in self.nodes if each.is_behind)

    @property
    def unheard(self) -> tuple[PeerProgress, ...]:
        """Return the nodes that have not answered for a day, so that their state is unknown."""
        return tuple(each for each in self.nodes if each.unheard_since(self.now) is not None)

    @property
    def gone_back(self) -> tuple[PeerProgress, ...]:
        """Return the nodes that went back to an older state and do not have everything again."""
        return tuple(each for each in self.nodes if each.went_back_at)

    @property
    def conflicts(self) -> tuple[PeerProgress, ...]:
        """Return the nodes that hold an audit history that contradicts this keystore's."""
        return tuple(each for each in self.nodes if each.conflict)

    def error(self) -> TikTrueKeysError | None:
        """Return IntegrityError for a conflict, PartialError for nodes that lack something or are unheard, or None.

        What a node has refused it lacks, until an administrator has accepted that.
        """
        if self.conflicts:
            first = self.conflicts[0]
            nodes = "1 node holds" if len(self.conflicts) == 1 else f"{len(self.conflicts)} nodes hold"
            return IntegrityError(
                f"{nodes} a conflicting audit history; '{first.name}': {first.conflict}",
                "it was copied back from an old state: copy the newest state back, or restore it as a new epoch",
            )
        without = tuple(each for each in self.nodes if each.node_id in self.unrevoked)
        refused = tuple(each for each in self.nodes if self.refused.get(each.node_id))
        done = len(self.nodes) - len({each.node_id for each in (*self.laggards, *self.unheard, *refused)})
        parts = [
            f"[{done}/{len(self.nodes)}] nodes are up to date",
            _listed("went back to an older state", self.gone_back),
            _listed("without a revocation", without),
            _listed("behind", self.laggards),
            _listed("refused an envelope", refused),
            _listed("not heard for a day", self.unheard),
        ]
        if not any(parts[1:]):
            return None
        only_refused = len(list(filter(None, parts[1:]))) == 1 and refused
        about = {"node": refused[0].name} if only_refused else {}
        remedy = "node-refused" if only_refused else "sync-fleet"
        return PartialError("; ".join(filter(None, parts)), "sync the fleet", remedy=remedy, about=about)


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
            now=now,
            unrevoked=deliveries.lacking_revocation(view.rows, fleet),
            nodes=tuple(fleet.values()),
            on_its_way=_on_its_way(view, fleet),
            waiting=tuple(promotion.waiting(view.rows, now)),
            issuers=tuple(peers.peers(view.rows, ISSUER)) if argument is None else (),
            refused={key: found for key, each in fleet.items() if (found := standing_refusals(view.rows, each, now))},
        )


def _listed(words: str, nodes: tuple[PeerProgress, ...]) -> str:
    names = ", ".join(each.name for each in nodes[:_SHOWN]) + " ..." * (len(nodes) > _SHOWN)
    return f"{words}: {names}" if nodes else ""


def _on_its_way(view: Snapshot, fleet: dict[str, PeerProgress]) -> tuple[OnItsWay, ...]:
    found = []
    for dispatch in outbox.open_dispatches(view.rows):
        states = [
            (fleet[node_id].name, deliveries.state_of(fleet[node_id], place))
            for node_id, place in outbox.nodes_of(view.rows, dispatch)
            if node_id in fleet
        ]
        missing = tuple(each for each in states if each[1] not in (ACKNOWLEDGED, REFUSED))
        if missing:
            found.append(OnItsWay(dispatch, len(states) - len(missing), len(states), missing))
    return tuple(found)
