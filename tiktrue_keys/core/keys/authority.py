"""Authority: the one keystore whose word counts for a model on this machine.

It is this keystore for a model of which it generated a key, else the pinned issuer whose scope has the model, else this
keystore. Come here before anything that came from outside is believed, and before something is generated or signed.
Does not handle signatures (models/container/open.py) and envelopes (fleet/apply.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiktrue_keys.core.containers.registry import locations_of
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer, get_peer, has_issuers, own_name, peers, retired_issuers
from tiktrue_keys.core.dispatch.releases import Standing, get_release
from tiktrue_keys.core.dispatch.scopes import covers
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import heads_of, keys_of_model
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.node_ids import node_id_of
from tiktrue_keys.errors import RefusedError


@dataclass(frozen=True)
class Signer:
    """A keystore whose signature counts: `key` is its Ed25519 public key (32 bytes). `here`: it is this keystore.

    `name` is that under which it is known here; empty for this keystore before it was named.
    """

    node_id: str
    name: str
    key: bytes
    here: bool

    def __str__(self) -> str:
        return "this keystore" if self.here else f"issuer '{self.name}' ({self.node_id})"


class OutOfScopeError(RefusedError):
    """A peer speaks for a model or a key of which it is not the authority here."""


def signer_of(view: Snapshot, model_id: str) -> Signer:
    """Return the authority of a model: the only keystore that signs its containers."""
    issuer = issuer_of_model(view.rows, model_id)
    return this_keystore(view) if issuer is None else signer_named(issuer)


def former_signer(
    view: Snapshot, key: bytes, model_id: str, named: Mapping[bytes, bytes], now: Instant, *, compromised: bool = False
) -> Signer | None:
    """Return the issuer with this Ed25519 key that was the authority of a model once; None unless its signature counts.

    It counts where the registry or its last release names every container of `named` (roots by file id) as its own.
    That of a compromised issuer counts only if `compromised`: then the user vouches for the container.
    """
    if not named or not has_issuers(view.rows):
        return None
    known = (*peers(view.rows, ISSUER), *retired_issuers(view.rows))
    issuer = next((each for each in known if each.identity_key == key), None)
    if issuer is None or (issuer.compromised_at and not compromised):
        return None
    if issuer.compromised_at:
        return signer_named(issuer)
    release = get_release(view.rows, model_id, issuer.origin)
    for file_id, root in named.items():
        rows = locations_of(view.rows, file_id)
        is_registered = any(row.signed and row.signer in ("", issuer.node_id) for row in rows)
        is_released = release is not None and release.standing(file_id, root, now) is Standing.NAMED
        if not is_registered and not is_released:
            return None
    return signer_named(issuer)


def this_keystore(view: Snapshot) -> Signer:
    """Return this keystore as a signer."""
    document, named = view.document, own_name(view.rows)
    node_id = node_id_of(document.identity_key, document.identity_hpke)
    return Signer(node_id, named[0] if named else "", document.identity_key, here=True)


def signer_named(peer: Peer) -> Signer:
    """Return a peer as a signer."""
    return Signer(peer.node_id, peer.name, peer.identity_key, here=False)


def issuer_of_model(rows: Rows, model_id: str) -> Peer | None:
    """Return the pinned issuer that is the authority of a model, or None where this keystore is."""
    if not has_issuers(rows) or is_made_here(rows, model_id):
        return None
    found = [peer for peer in peers(rows, ISSUER) if peer.scope is None or covers(peer.scope, model_id)]
    if len(found) > 1:  # before there were scopes: the one that has sent its keys
        origins = {head.key.origin for head in heads_of(rows, model_id, Instant(0))}
        found = [peer for peer in found if peer.origin in origins]
    return found[0] if found else None


def is_made_here(rows: Rows, model_id: str) -> bool:
    """Return whether this keystore ever generated a key of the model."""
    never = Instant(0)
    if any(head.key.origin is None for head in heads_of(rows, model_id, never)):
        return True
    return any(stored.key.origin is None for stored in keys_of_model(rows, model_id, never))


def must_be_authority(rows: Rows, model_id: str) -> None:
    """Raise RefusedError unless this keystore is the authority of a model."""
    issuer = issuer_of_model(rows, model_id)
    if issuer is not None:
        raise RefusedError(
            f"model {model_id} belongs to issuer '{issuer.name}'",
            "do it there, or take the model out of its scope here",
            remedy="issuers-model",
            about={"issuer": issuer.name, "model": model_id},
        )


def must_be_made_here(key: ManagedKey) -> None:
    """Raise RefusedError for a key that came from an issuer, which creates its successors and sends it to its nodes."""
    if key.origin is not None:
        raise RefusedError(
            f"key {key.key_id} came from issuer {key.origin}",
            "it is rotated and sent there",
            key_id=key.key_id,
            remedy="issuers-key",
            about={"model": key.model_id},
        )


def must_be_in_scope(rows: Rows, issuer: Peer, model_id: str) -> None:
    """Raise OutOfScopeError unless `issuer` is the authority of a model."""
    authority = issuer_of_model(rows, model_id)
    if authority is None or authority.node_id != issuer.node_id:
        raise OutOfScopeError(f"model {model_id} is not in the scope of '{issuer.name}'")


def is_compromised(rows: Rows, origin: str | None) -> bool:
    """Return whether the issuer that a key came from was removed as compromised."""
    peer = None if origin is None else get_peer(rows, origin)
    return peer is not None and bool(peer.compromised_at)
