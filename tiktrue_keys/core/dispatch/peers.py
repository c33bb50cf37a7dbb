"""Pinned peers as records: their public keys, their names, and the progress of each one.

Come here for how the fleet is stored; the package fleet decides whom to pin. The keys of a peer fill a row of 2 KiB
that is written once. The members that change with every delivery are in roster rows of 32 peers each, so that notifying
a fleet of 10,000 takes a few hundred writes instead of ten thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from tiktrue_keys.core.canonical import record_json
from tiktrue_keys.core.dispatch.node_progress import PeerProgress, progress_json, progress_of_json, shortened
from tiktrue_keys.core.dispatch.peer import (
    ISSUER,
    NODE,
    ROLES,
    Peer,
    get_peer,
    peer_of_text,
    peer_text,
    put_peer,
    put_retired,
    retired_ids,
    retired_issuers,
)
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import MAX_RECORD, RecordKind
from tiktrue_keys.core.node_ids import is_node_id
from tiktrue_keys.errors import NotFoundError, RefusedError

__all__ = ["ISSUER", "NODE", "ROLES", "Peer", "get_peer", "peer_of_text", "peer_text", "put_peer", "retired_issuers"]

PEERS_A_ROW = 32
_SELF = "self"
_ROSTER = "roster"


@dataclass(frozen=True)
class Roster:
    """The fleet's own counters. Dispatches from `first_open` to `next_dispatch` - 1 may not be finished.

    `round` counts the rounds that were sent. It never goes back, whatever lies in a transport.
    """

    shards: int = 0
    count: int = 0
    epoch: int = 1
    next_dispatch: int = 1
    first_open: int = 1
    round: int = 0


def own_name(rows: Rows) -> tuple[str, str] | None:
    """Return the keystore's own name and role; None before `fleet init`."""
    payload = rows.get(RecordKind.NODE, _SELF)
    return (payload["name"], payload["role"]) if payload else None


def put_own_name(rows: Rows, name: str, role: str) -> None:
    """Store the keystore's name and role. The role decides how it treats the cards that it pins."""
    rows.put(RecordKind.NODE, _SELF, {"name": name, "role": role})


def roster(rows: Rows) -> Roster:
    """Return the fleet's counters."""
    payload = rows.get(RecordKind.NODE, _ROSTER)
    return Roster(**payload) if payload else Roster()


def put_roster(rows: Rows, value: Roster) -> None:
    """Store the fleet's counters."""
    rows.put(RecordKind.NODE, _ROSTER, asdict(value))


def next_round(rows: Rows) -> int:
    """Count one more round, and return its number."""
    counters = roster(rows)
    put_roster(rows, replace(counters, round=counters.round + 1))
    return counters.round + 1


def find_peer(rows: Rows, argument: str, role: str | None = None, *, retired: bool = False) -> Peer:
    """Return the peer with that name or node id, also an issuer that was removed if `retired`.

    Raises NotFoundError when there is none (of that role).
    """
    peer = get_peer(rows, argument) if is_node_id(argument) else None
    if peer is None:
        named = rows.get(RecordKind.NODE, f"name {argument}")
        peer = get_peer(rows, named["node_id"]) if named else None
    if peer is None or (role is not None and peer.role != role) or (peer.retired_at and not retired):
        raise NotFoundError(f"there is no {role or 'node'} '{argument[:80]}'", remedy="list-peers")
    return peer


def add_peer(rows: Rows, peer: Peer, epoch: int) -> Peer:
    """Pin a peer and return it. Raises RefusedError when its id or name is taken."""
    known = get_peer(rows, peer.node_id)
    if known is not None and known.compromised_at:
        raise RefusedError(
            f"{peer.node_id} was removed as compromised, as '{known.name}': its keys stay revoked",
            "pin the card of the keystore that replaces it",
        )
    if known is not None and not known.retired_at:
        raise RefusedError(
            f"{peer.node_id} is pinned already, as '{known.name}'",
            "unpin it first",
            remedy="pinned-already",
            about={"node": known.name},
        )
    if _is_taken(rows, peer.name):
        raise RefusedError(f"the name '{peer.name}' is taken", "pass another name", remedy="peer-name-taken")
    counters = roster(rows)
    shards = max(counters.shards, 1)
    members = _shard(rows, shards - 1)
    if len(members) >= PEERS_A_ROW:
        shards, members = shards + 1, {}
    peer = replace(peer, shard=shards - 1)
    members[peer.node_id] = _begun(rows, peer, epoch)
    put_peer(rows, peer)
    rows.put(RecordKind.NODE, f"name {peer.name}", {"node_id": peer.node_id})
    put_progress(rows, peer.shard, members, {peer.role})
    if known is not None:
        put_retired(rows, [each for each in retired_ids(rows) if each != peer.node_id])
    put_roster(rows, replace(counters, shards=shards, count=counters.count + 1, epoch=epoch))
    return peer


def remove_peer(rows: Rows, peer: Peer) -> None:
    """Unpin a peer."""
    members = _shard(rows, peer.shard)
    last = members.pop(peer.node_id)
    counters = roster(rows)
    # Keeps the numbers, which continue if it is pinned again: a node takes a repeated number for a replay or a fork.
    rows.put(RecordKind.NODE, f"was {peer.node_id}", {"epoch": counters.epoch, "progress": progress_json(last)})
    put_progress(rows, peer.shard, members, set())
    rows.delete(RecordKind.NODE, f"id {peer.node_id}")
    rows.delete(RecordKind.NODE, f"name {peer.name}")
    put_roster(rows, replace(counters, count=counters.count - 1))


def retire_issuer(rows: Rows, peer: Peer, now: Instant, *, compromised: bool) -> Peer:
    """Unpin an issuer, and keep its keys and its name: its signatures and its keys may go on counting. Return it."""
    if not peer.retired_at:
        remove_peer(rows, peer)
        rows.put(RecordKind.NODE, f"name {peer.name}", {"node_id": peer.node_id})
        put_retired(rows, [*retired_ids(rows), peer.node_id])
        peer = replace(peer, retired_at=now)
    peer = replace(peer, compromised_at=now) if compromised else peer
    put_peer(rows, peer)
    return peer


def peers(rows: Rows, role: str | None = None) -> Iterator[Peer]:
    """Yield every pinned peer (of a role), in the order in which they were pinned."""
    for shard in range(roster(rows).shards):
        for node_id, progress in _shard(rows, shard).items():
            peer = get_peer(rows, node_id) if role in (None, progress.role) else None
            if peer is not None:
                yield peer


def progress_rows(rows: Rows, node_ids: Collection[str] | None = None) -> Iterator[tuple[int, dict[str, PeerProgress]]]:
    """Yield every roster row: its number, and the progress of its peers by node id.

    With `node_ids`, rows without one of these nodes may be left out.
    """
    shards: Iterable[int] = range(roster(rows).shards)
    if node_ids is not None and len(node_ids) < len(range(roster(rows).shards)):
        found = (get_peer(rows, node_id) for node_id in node_ids)
        shards = sorted({peer.shard for peer in found if peer is not None})
    for shard in shards:
        yield shard, _shard(rows, shard)


def progress_of(rows: Rows, peer: Peer) -> PeerProgress:
    """Return the progress of one peer; nothing is known of an issuer that was removed."""
    return _shard(rows, peer.shard).get(peer.node_id) or PeerProgress(peer.node_id, peer.name, peer.role)


def all_progress(rows: Rows) -> dict[str, PeerProgress]:
    """Return the progress of every peer by node id."""
    return {node_id: each for _, members in progress_rows(rows) for node_id, each in members.items()}


def put_progress(rows: Rows, shard: int, members: dict[str, PeerProgress], roles: set[str] | None = None) -> None:
    """Store one roster row as a whole."""
    payload: dict[str, Any] = {"members": [progress_json(each) for each in members.values()]}
    if len(record_json(payload)) > MAX_RECORD:
        payload = {"members": [progress_json(shortened(each)) for each in members.values()]}
    if roles and ISSUER in roles:
        put_has_issuers(rows)
    rows.put(RecordKind.NODE, f"{_ROSTER} {shard}", payload)


def put_has_issuers(rows: Rows) -> None:
    """Record that keys come here from an issuer, so that opening one has to consult revocation lists."""
    rows.put(RecordKind.NODE, "receives", {"receives": True})


def has_issuers(rows: Rows) -> bool:
    """Return whether this keystore ever pinned an issuer."""
    return rows.get(RecordKind.NODE, "receives") is not None


def _is_taken(rows: Rows, name: str) -> bool:
    named = rows.get(RecordKind.NODE, f"name {name}")
    peer = get_peer(rows, named["node_id"]) if named else None
    return peer is not None and not peer.retired_at


def _begun(rows: Rows, peer: Peer, epoch: int) -> PeerProgress:
    before = rows.get(RecordKind.NODE, f"was {peer.node_id}")
    if before is None:
        return PeerProgress(peer.node_id, peer.name, peer.role)
    last = progress_of_json(before["progress"])
    if before["epoch"] != epoch:
        return PeerProgress(peer.node_id, peer.name, peer.role, stream=last.stream + 1)
    return replace(last, name=peer.name, role=peer.role, sent=last.acked)


def _shard(rows: Rows, shard: int) -> dict[str, PeerProgress]:
    payload = rows.get(RecordKind.NODE, f"{_ROSTER} {shard}")
    return {each["node_id"]: progress_of_json(each) for each in payload["members"]} if payload else {}
