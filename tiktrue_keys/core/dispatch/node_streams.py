"""Streams: begins a node's next stream and queues what the node lacks: for one that went back, or on request.

Come here for what is sent again to a node whose machine was put back to an older state. What a node lacks is what lies
behind the place that it named; revocations and releases go first, under new list numbers, then keys and promotions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tiktrue_keys.core.dispatch import revocation_lists
from tiktrue_keys.core.dispatch.node_progress import Place
from tiktrue_keys.core.dispatch.outbox import KEY, LIST, PROMOTE, Dispatch, all_dispatches, queue_again
from tiktrue_keys.core.dispatch.peers import progress_rows, put_progress
from tiktrue_keys.core.dispatch.releases import own_releases
from tiktrue_keys.core.dispatch.revocation_lists import Revocation, revocations_on_list
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction

EVERYTHING: Place = (0, 0)
"""The place of a node that holds nothing."""


def begin_streams(
    transaction: Transaction, places: Mapping[str, Place], sizes: Mapping[str, int], *, went_back: bool
) -> None:
    """Begin the next stream of these nodes, by node id, and queue what lies behind the place of each.

    `sizes` are the sizes of the audit heads that they hold. Call it after the operation has recorded its audit record.
    """
    rows, now = transaction.rows, transaction.now
    lacking = _lacking(rows, places)
    for shard, members in progress_rows(rows, places):
        chosen = [node_id for node_id in members if node_id in places]
        for node_id in chosen:
            begun = members[node_id].next_stream(sizes[node_id], places[node_id])
            members[node_id] = replace(begun, went_back_at=now if went_back else begun.went_back_at)
        if chosen:
            put_progress(rows, shard, members)
    # Nodes that lack the same get it together: a fleet that is put back at once costs what one node costs.
    alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for node_id in places:
        alike[tuple(each.number for each in lacking[node_id])].append(node_id)
    for node_ids in alike.values():
        _queue_all(transaction, lacking[node_ids[0]], node_ids)


def _lacking(rows: Rows, places: Mapping[str, Place]) -> dict[str, list[Dispatch]]:
    """Map each node id to the dispatches behind its place, oldest first."""
    lacking: dict[str, list[Dispatch]] = {node_id: [] for node_id in places}
    for dispatch, nodes in all_dispatches(rows):
        for node_id, place in nodes:
            if node_id in places and place > places[node_id]:
                lacking[node_id].append(dispatch)
    return lacking


def _queue_all(transaction: Transaction, lacking: Sequence[Dispatch], node_ids: Sequence[str]) -> None:
    rows = transaction.rows
    revoked: dict[str, Revocation] = {}
    for dispatch in lacking:
        if dispatch.kind == LIST:
            revoked.update({each.key_id: each for each in revocations_on_list(rows, dispatch.list_number)})
    own = own_releases(rows)
    revocation_lists.publish(transaction, list(revoked.values()), releases=own, node_ids=node_ids)
    for kind in (KEY, PROMOTE):
        items = {each.key_id: each for each in lacking if each.kind == kind}
        for dispatch in items.values():
            queue_again(transaction, dispatch, node_ids)
