"""Peers, their progress and the status of the fleet, as JSON members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Refused
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.instants import Instant, rfc3339

if TYPE_CHECKING:
    from tiktrue_keys.fleet.status import FleetStatus


def peer_json(peer: Peer, progress: PeerProgress | None = None) -> dict[str, Any]:
    """Return a member of `result.nodes`."""
    described: dict[str, Any] = {
        "node_id": peer.node_id,
        "name": peer.name,
        "role": peer.role,
        "models": None if peer.scope is None else list(peer.scope),
        "keystore_id": peer.keystore_id,
        "added_at": rfc3339(peer.added_at),
        "removed_at": _when(peer.retired_at),
        "compromised_at": _when(peer.compromised_at),
    }
    return described if progress is None else described | progress_json(progress)


def progress_json(progress: PeerProgress) -> dict[str, Any]:
    """Return how far a node is; `pending` is the number of envelopes that it lacks."""
    return {
        "node_id": progress.node_id,
        "name": progress.name,
        "role": progress.role,
        "issued": progress.issued,
        "sent": progress.sent,
        "acknowledged": progress.acked,
        "pending": progress.issued - progress.acked,
        "stream": progress.stream,
        "sent_at": _when(progress.sent_at),
        "seen_at": _when(progress.seen_at),
        "heard_at": _when(progress.heard_at),
        "went_back_at": _when(progress.went_back_at),
        "blocked": progress.blocked or None,
        "conflict": progress.conflict or None,
        "refusals": [{"number": each.number, "reason": each.reason} for each in progress.refusals],
    }


def state_of(progress: PeerProgress, now: Instant, refused: Sequence[Refused] = ()) -> str:
    """Return the state of a node in one word: conflict, went-back, blocked, behind, refused, unheard or ok.

    `refused` are its refusals that matter.
    """
    states = {
        "conflict": progress.conflict,
        "went-back": progress.went_back_at,
        "blocked": progress.blocked,
        "behind": progress.is_behind,
        "refused": bool(refused),
        "unheard": progress.unheard_since(now),
    }
    return next((state for state, holds in states.items() if holds), "ok")


def status_json(status: FleetStatus) -> dict[str, Any]:
    """Return `result` of `fleet status` and `fleet sync`."""
    return {
        "node_id": status.node_id,
        "epoch": {"number": status.epoch, "size": status.base.size, "head": status.base.root.hex()},
        "audit": {"size": status.head.size, "head": status.head.root.hex()},
        "nodes": [progress_json(each) | _standing(each, status) for each in status.nodes],
        "issuers": [peer_json(each) for each in status.issuers],
        "deliveries": [
            {
                "kind": each.dispatch.kind,
                "key_id": each.dispatch.key_id or None,
                "list_number": each.dispatch.list_number or None,
                "acknowledged": each.acknowledged,
                "total": each.total,
                "missing": [{"name": name, "state": state} for name, state in each.missing],
            }
            for each in status.on_its_way
        ],
        "pending": [
            {
                "key_id": each.new.key_id,
                "predecessor": each.old.key_id,
                "promote_at": rfc3339(each.promote_at),
                "deadline": rfc3339(each.deadline),
                "needed": each.needed,
                "acknowledged": list(each.acknowledged),
                "missing": list(each.missing),
            }
            for each in status.waiting
        ],
    }


def _standing(progress: PeerProgress, status: FleetStatus) -> dict[str, Any]:
    refused = status.refused.get(progress.node_id, ())
    numbers = [each.number for each in refused]
    return {"state": state_of(progress, status.now, refused), "unaccepted_refusals": numbers}


def _when(instant: int) -> str | None:
    return rfc3339(instant) if instant else None
