"""Pinned peers as records: their public keys, their names, and the progress of each one.

Come here for how the fleet is stored; the package fleet decides whom to pin. The keys of a peer fill a row of 2 KiB
that is written once. The members that change with every delivery are in roster rows of 48 peers each, so that notifying
a fleet of 10,000 takes a few hundred writes instead of ten thousand.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from tiktrue_keys.core.canonical import parse_record_json, record_json
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.errors import NotFoundError, RefusedError, UsageError

NODE = "node"
ISSUER = "issuer"
ROLES = (NODE, ISSUER)

NODE_ID_LENGTH = 32
PEERS_A_ROW = 48
MAX_REFUSALS = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NODE_ID = re.compile(r"[a-z2-7]{32}")
_SELF = "self"
_ROSTER = "roster"


@dataclass(frozen=True)
class Peer:
    """A pinned peer. Ids are those of its card; keys are raw: Ed25519 32, X-Wing 1216, audit Ed25519 32 bytes.

    `role` is the peer's role for this keystore: a node gets keys from here, an issuer sends keys here. `epoch` is the
    card's; `recovery_key` has 32 bytes, or is empty if the card names none.
    """

    node_id: str
    name: str
    role: str
    keystore_id: str
    epoch: int
    identity_key: bytes
    identity_hpke: bytes
    audit_key: bytes
    added_at: Instant
    shard: int = 0
    recovery_key: bytes = b""


@dataclass(frozen=True)
class PeerProgress:
    """The progress of a node: `issued`, `sent` and `acked` are the highest envelope numbers of this epoch.

    `acked_size` is the audit size that the node last vouched for. `conflict` describes history of this keystore that
    the node's last acknowledgement knows and this keystore does not. `blocked` is the reason why the node did not
    consume the next envelope, `reissued` the time of the acknowledgement that last made the issuer send that envelope
    again. `refusals` are (number, reason) of envelopes that the node consumed without doing what they say.
    """

    node_id: str
    name: str
    role: str = NODE
    issued: int = 0
    sent: int = 0
    acked: int = 0
    acked_size: int = 0
    sent_at: int = 0
    seen_at: int = 0
    conflict: str = ""
    blocked: str = ""
    refusals: tuple[tuple[int, str], ...] = ()
    reissued: int = 0

    def refused(self, number: int) -> bool:
        """Return whether the node consumed that envelope and refused its content."""
        return any(each == number for each, _ in self.refusals)


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


def parse_name(text: str) -> str:
    """Return `text` as a peer's name. Raises UsageError when it is malformed."""
    if not _NAME.fullmatch(text) or _NODE_ID.fullmatch(text):
        raise UsageError(
            f"{text[:80]!a} is not a node's name",
            "1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit, and no node id",
        )
    return text


def is_node_id(text: str) -> bool:
    """Return whether `text` is spelled like a node id: 32 characters of base32, lower case."""
    return _NODE_ID.fullmatch(text) is not None


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


def find_peer(rows: Rows, argument: str, role: str | None = None) -> Peer:
    """Return the peer with that name or node id. Raises NotFoundError when there is none (of that role)."""
    peer = get_peer(rows, argument) if is_node_id(argument) else None
    if peer is None:
        named = rows.get(RecordKind.NODE, f"name {argument}")
        peer = get_peer(rows, named["node_id"]) if named else None
    if peer is None or (role is not None and peer.role != role):
        raise NotFoundError(f"there is no {role or 'node'} '{argument[:80]}'", remedy="list-peers")
    return peer


def get_peer(rows: Rows, node_id: str) -> Peer | None:
    """Return the peer with that node id, or None."""
    payload = rows.get(RecordKind.NODE, f"id {node_id}")
    return None if payload is None else _peer_of(payload)


def peer_text(peer: Peer) -> str:
    """A peer as one line of text, for an operation that remembers one that is let go."""
    return record_json(_peer_json(peer)).decode()


def peer_of_text(text: str) -> Peer:
    """What peer_text wrote."""
    return _peer_of(parse_record_json(text.encode()))


def add_peer(rows: Rows, peer: Peer, epoch: int) -> Peer:
    """Pin a peer and return it. Raises RefusedError when its id or name is taken."""
    known = get_peer(rows, peer.node_id)
    if known is not None:
        raise RefusedError(
            f"{peer.node_id} is pinned already, as '{known.name}'",
            "unpin it first",
            remedy="pinned-already",
            about={"node": known.name},
        )
    if rows.get(RecordKind.NODE, f"name {peer.name}") is not None:
        raise RefusedError(f"the name '{peer.name}' is taken", "pass another name", remedy="peer-name-taken")
    counters = roster(rows)
    shards = max(counters.shards, 1)
    members = _shard(rows, shards - 1)
    if len(members) >= PEERS_A_ROW:
        shards, members = shards + 1, {}
    peer = replace(peer, shard=shards - 1)
    members[peer.node_id] = _begun(rows, peer, epoch)
    rows.put(RecordKind.NODE, f"id {peer.node_id}", _peer_json(peer))
    rows.put(RecordKind.NODE, f"name {peer.name}", {"node_id": peer.node_id})
    put_progress(rows, peer.shard, members, {peer.role})
    put_roster(rows, replace(counters, shards=shards, count=counters.count + 1, epoch=epoch))
    return peer


def remove_peer(rows: Rows, peer: Peer) -> None:
    """Unpin a peer."""
    members = _shard(rows, peer.shard)
    last = members.pop(peer.node_id)
    counters = roster(rows)
    # Keeps the numbers, which continue if it is pinned again: a node takes a repeated number for a replay or a fork.
    rows.put(RecordKind.NODE, f"was {peer.node_id}", {"epoch": counters.epoch, "progress": _progress_json(last)})
    put_progress(rows, peer.shard, members, set())
    rows.delete(RecordKind.NODE, f"id {peer.node_id}")
    rows.delete(RecordKind.NODE, f"name {peer.name}")
    put_roster(rows, replace(counters, count=counters.count - 1))


def peers(rows: Rows, role: str | None = None) -> Iterator[Peer]:
    """Yield every pinned peer (of a role), in the order in which they were pinned."""
    for shard in range(roster(rows).shards):
        for node_id in _shard(rows, shard):
            peer = get_peer(rows, node_id)
            if peer is not None and role in (None, peer.role):
                yield peer


def progress_rows(rows: Rows) -> Iterator[tuple[int, dict[str, PeerProgress]]]:
    """Yield every roster row: its number, and the progress of its peers by node id."""
    for shard in range(roster(rows).shards):
        yield shard, _shard(rows, shard)


def progress_of(rows: Rows, peer: Peer) -> PeerProgress:
    """Return the progress of one peer."""
    return _shard(rows, peer.shard)[peer.node_id]


def all_progress(rows: Rows) -> dict[str, PeerProgress]:
    """Return the progress of every peer by node id."""
    return {node_id: each for _, members in progress_rows(rows) for node_id, each in members.items()}


def put_progress(rows: Rows, shard: int, members: dict[str, PeerProgress], roles: set[str] | None = None) -> None:
    """Store one roster row as a whole."""
    payload: dict[str, Any] = {"members": [_progress_json(each) for each in members.values()]}
    if roles and ISSUER in roles:
        put_has_issuers(rows)
    rows.put(RecordKind.NODE, f"{_ROSTER} {shard}", payload)


def put_has_issuers(rows: Rows) -> None:
    """Record that keys come here from an issuer, so that opening one has to consult revocation lists."""
    rows.put(RecordKind.NODE, "receives", {"receives": True})


def has_issuers(rows: Rows) -> bool:
    """Return whether this keystore ever pinned an issuer."""
    return rows.get(RecordKind.NODE, "receives") is not None


def _begun(rows: Rows, peer: Peer, epoch: int) -> PeerProgress:
    before = rows.get(RecordKind.NODE, f"was {peer.node_id}")
    if before is None or before["epoch"] != epoch:
        return PeerProgress(peer.node_id, peer.name, peer.role)
    last = _progress(before["progress"])
    return replace(last, name=peer.name, role=peer.role, sent=last.acked)


def _shard(rows: Rows, shard: int) -> dict[str, PeerProgress]:
    payload = rows.get(RecordKind.NODE, f"{_ROSTER} {shard}")
    return {each["node_id"]: _progress(each) for each in payload["members"]} if payload else {}


_KEYS = ("identity_key", "identity_hpke", "audit_key", "recovery_key")


def _peer_of(payload: dict[str, Any]) -> Peer:
    keys = {name: base64.b64decode(payload[name]) for name in _KEYS}
    return Peer(**{**payload, **keys})


def _peer_json(peer: Peer) -> dict[str, Any]:
    return asdict(peer) | {name: base64.b64encode(getattr(peer, name)).decode() for name in _KEYS}


def _progress_json(progress: PeerProgress) -> dict[str, Any]:
    """Return the members that differ from their default, so that an idle node takes only its id and its name."""
    plain = {name: value for name, value in vars(progress).items() if value != _DEFAULTS.get(name)}
    if progress.refusals:
        plain["refusals"] = [list(each) for each in progress.refusals[-MAX_REFUSALS:]]
    return plain


def _progress(payload: dict[str, Any]) -> PeerProgress:
    refusals = tuple((number, reason) for number, reason in payload.get("refusals", ()))
    return PeerProgress(**{**payload, "refusals": refusals})


_DEFAULTS = vars(PeerProgress("", ""))
