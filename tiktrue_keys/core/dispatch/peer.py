"""A pinned peer as a record: its names, its public keys, its role and its scope, and the issuers that were removed.

Come here for what is stored of one peer; core/dispatch/peers.py has all of them and their progress.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

from tiktrue_keys.core.canonical import parse_record_json, record_json
from tiktrue_keys.core.dispatch.scopes import Scope
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind

NODE = "node"
ISSUER = "issuer"
ROLES = (NODE, ISSUER)

_RETIRED = "retired"
_NEVER = Instant(0)
_KEYS = ("identity_key", "identity_hpke", "audit_key", "recovery_key")
_OF_ISSUERS: dict[str, Any] = {"scope": None, "scope_assumed": False, "retired_at": _NEVER, "compromised_at": _NEVER}


@dataclass(frozen=True)
class Peer:
    """A pinned peer. Ids are those of its card; keys are raw: Ed25519 32, X-Wing 1216, audit Ed25519 32 bytes.

    `role` is the peer's role for this keystore: a node gets keys from here, an issuer sends keys here. `epoch` is the
    card's; `recovery_key` has 32 bytes, or is empty if the card names none.

    Of an issuer, `scope` has the models that it may speak for; None where it was pinned before there were scopes, and
    the keystore was not upgraded since. `scope_assumed`: it follows from the keys that had come from the issuer.
    `retired_at` is when it was removed, and `compromised_at` when it was removed as compromised; 0 if it was not.
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
    scope: Scope | None = None
    scope_assumed: bool = False
    retired_at: Instant = _NEVER
    compromised_at: Instant = _NEVER

    @property
    def origin(self) -> str:
        """Return what the records that came from this peer name it by: its first node id."""
        return self.node_id


def get_peer(rows: Rows, node_id: str) -> Peer | None:
    """Return the peer with that node id, be it pinned or an issuer that was removed; or None."""
    payload = rows.get(RecordKind.NODE, f"id {node_id}")
    return None if payload is None else _peer_of(payload)


def put_peer(rows: Rows, peer: Peer) -> None:
    """Store what is known of a peer, in place of what was stored."""
    rows.put(RecordKind.NODE, f"id {peer.node_id}", _peer_json(peer))


def peer_text(peer: Peer) -> str:
    """A peer as one line of text, for an operation that remembers one that is let go."""
    return record_json(_peer_json(peer)).decode()


def peer_of_text(text: str) -> Peer:
    """What peer_text wrote."""
    return _peer_of(parse_record_json(text.encode()))


def retired_issuers(rows: Rows) -> list[Peer]:
    """Return the issuers that were removed, in the order of their removal."""
    return [peer for peer in (get_peer(rows, node_id) for node_id in retired_ids(rows)) if peer is not None]


def retired_ids(rows: Rows) -> list[str]:
    """Return the node ids of the issuers that were removed."""
    payload = rows.get(RecordKind.NODE, _RETIRED)
    return list(payload["retired"]) if payload else []


def put_retired(rows: Rows, node_ids: list[str]) -> None:
    """Store the node ids of the issuers that were removed."""
    rows.put(RecordKind.NODE, _RETIRED, {"retired": node_ids})


def _peer_of(payload: dict[str, Any]) -> Peer:
    members: dict[str, Any] = {name: base64.b64decode(payload[name]) for name in _KEYS}
    if "scope" in payload:
        members["scope"] = tuple(payload["scope"])
    return Peer(**{**payload, **members})


def _peer_json(peer: Peer) -> dict[str, Any]:
    keys = {name: base64.b64encode(getattr(peer, name)).decode() for name in _KEYS}
    return {name: value for name, value in (asdict(peer) | keys).items() if _OF_ISSUERS.get(name, ...) != value}
