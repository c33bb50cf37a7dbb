"""What nodes refused: kept from their acknowledgements, and accepted by an administrator.

Come here for how a refusal is kept at the issuer. core/keys/standing_refusals.py tells which ones still matter.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tiktrue_keys.core.dispatch.node_progress import MAX_REFUSALS, PeerProgress, Refused
from tiktrue_keys.core.dispatch.outbox import KEY, Dispatch, get_dispatch, nodes_of, open_dispatches
from tiktrue_keys.core.dispatch.peers import all_progress, progress_rows, put_progress
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.once import Repeatable
from tiktrue_keys.fleet.acknowledgements import OK, Acknowledgement

ACCEPT_EVENT = "accept-refusals"


def refusals_after(rows: Rows, before: PeerProgress, ack: Acknowledgement) -> tuple[Refused, ...]:
    """Return the refusals of a node with those that are new in an acknowledgement of its stream.

    A refused key that the node took later, when it was sent once more, is not refused any more.
    """
    new = {each.number: each.outcome for each in ack.results if each.number > before.acked}
    if not before.refusals and all(outcome == OK for outcome in new.values()):
        return ()
    dispatches = _dispatches(rows, before, ack.number)
    numbers = {number: each.number for number, each in dispatches.items()}
    refused = [Refused(number, each, numbers.get(number, 0)) for number, each in new.items() if each != OK]
    accepted = {number: each for number, each in sorted(dispatches.items()) if new.get(number) == OK}
    taken = {each.key_id: number for number, each in accepted.items() if each.kind == KEY}
    kept = [each for each in (*before.refusals, *refused) if each.number >= taken.get(_key_id(rows, each), 0)]
    return tuple(kept[-MAX_REFUSALS:])


def accept_refusals(operation: Repeatable, nodes: Collection[str]) -> bool:
    """Accept what these nodes (by node id) are known to have refused. Return whether there was anything new.

    It is recorded, and no longer a finding.
    """
    with operation.write() as transaction:
        rows, fleet = transaction.rows, all_progress(transaction.rows)
        accepted = {
            node_id: replace(each, refusals=tuple(replace(one, accepted=True) for one in each.refusals))
            for node_id, each in fleet.items()
            if node_id in nodes and not all(one.accepted for one in each.refusals)
        }
        for node_id, each in accepted.items():
            told = [f"{one.number} {one.reason}" for one in fleet[node_id].refusals if not one.accepted]
            transaction.record(ACCEPT_EVENT, detail={"node": each.name, "refused": told})
        for shard, members in progress_rows(rows, accepted):
            if not accepted.keys().isdisjoint(members):
                put_progress(rows, shard, {node_id: accepted.get(node_id, each) for node_id, each in members.items()})
    return bool(accepted)


def _dispatches(rows: Rows, before: PeerProgress, acked: int) -> dict[int, Dispatch]:
    """Map the numbers that a node has now acknowledged for the first time to the dispatches of that place."""
    return {
        number: dispatch
        for dispatch in open_dispatches(rows)
        for node_id, (stream, number) in nodes_of(rows, dispatch)
        if node_id == before.node_id and stream == before.stream and before.acked < number <= acked
    }


def _key_id(rows: Rows, refused: Refused) -> str:
    dispatch = get_dispatch(rows, refused.dispatch)
    return dispatch.key_id if dispatch else ""
