"""The scopes of issuers: which models a new issuer may speak for, and what that leaves to the others.

Come here for what `fleet add` asks about a second issuer. The grammar is core/dispatch/scopes.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tiktrue_keys.core.dispatch.peers import ISSUER, Peer, peers, put_peer
from tiktrue_keys.core.dispatch.scopes import (
    ALL,
    MAX_ENTRIES,
    Scope,
    covers,
    is_within,
    overlapping,
    parse_scope,
    scope_text,
)
from tiktrue_keys.core.keys.received import end_keys_of, keys_from
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError

SCOPE_EVENT = "issuer-scope"


@dataclass(frozen=True)
class Overlap:
    """An issuer whose scope overlaps that of a new one. `could_keep` is what of it would not, by what it has sent."""

    issuer: Peer
    could_keep: Scope


def find_overlaps(manager: KeyManager, node_id: str, models: Sequence[str]) -> tuple[Overlap, ...]:
    """Return the other issuers whose scope overlaps that of `models` for the issuer `node_id`."""
    with manager.session.read() as (view, now):
        wanted = _wanted(view.rows, node_id, models)
        overlaps = []
        for issuer in _others(view.rows, node_id):
            entries = overlapping(_scope(issuer), wanted)
            if entries:
                rest = tuple(entry for entry in _scope(issuer) if entry not in entries)
                sent = {stored.key.model_id for stored in keys_from(view.rows, issuer.origin, now)}
                others = {each for each in sent if covers(entries, each) and not covers(wanted, each)}
                overlaps.append(Overlap(issuer, tuple(sorted((*rest, *others)))[:MAX_ENTRIES]))
        return tuple(overlaps)


def settle_scopes(
    transaction: Transaction, node_id: str, models: Sequence[str], keeps: Mapping[str, Sequence[str]]
) -> Scope:
    """Return the scope of the issuer `node_id`, after narrowing those of the others to `keeps` (by node id).

    Raises RefusedError where a scope still overlaps, where one would grow, and for a second issuer without `models`.
    """
    wanted = _wanted(transaction.rows, node_id, models)
    for issuer in list(_others(transaction.rows, node_id)):
        kept = _scope(issuer) if issuer.node_id not in keeps else parse_scope(keeps[issuer.node_id])
        if not is_within(kept, _scope(issuer)):
            raise RefusedError(f"issuer '{issuer.name}' cannot keep more than {scope_text(_scope(issuer))}")
        if overlapping(kept, wanted):
            raise RefusedError(
                f"{scope_text(wanted)} overlaps {scope_text(kept)}, for which issuer '{issuer.name}' speaks",
                "narrow the scope of that issuer first, or pass what it keeps",
            )
        if kept != issuer.scope:
            change_scope(transaction, issuer, kept)
    return wanted


def change_scope(transaction: Transaction, issuer: Peer, scope: Scope) -> Peer:
    """Give a pinned issuer another scope, and return it. Its keys of models that it loses only decrypt from now on."""
    changed = replace(issuer, scope=scope, scope_assumed=False)
    put_peer(transaction.rows, changed)
    ended = end_keys_of(transaction, issuer.origin, within=scope)
    detail = {"node_id": issuer.node_id, "name": issuer.name, "keys": len(ended)}
    before, after = scope_text(_scope(issuer)), scope_text(scope)
    transaction.record(SCOPE_EVENT, before=before, after=after, detail=detail)
    return changed


def _wanted(rows: Rows, node_id: str, models: Sequence[str]) -> Scope:
    if models:
        return parse_scope(models)
    others = list(_others(rows, node_id))
    if others:
        raise RefusedError(
            f"issuer '{others[0].name}' is pinned already: a second one needs the models that it may speak for",
            "pass models, for example models=['vision/*']",
            remedy="name-models",
        )
    return ALL


def _others(rows: Rows, node_id: str) -> Iterator[Peer]:
    return (peer for peer in peers(rows, ISSUER) if peer.node_id != node_id)


def _scope(issuer: Peer) -> Scope:
    return ALL if issuer.scope is None else issuer.scope
