"""What has become of what was queued: the state of each delivery, and the nodes that a key went to.

Come here for what `rotation_event` reports and for which nodes hold a key. outbox.py queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

from tiktrue_keys.core.dispatch.distribution_request import (
    ACKNOWLEDGED,
    DELIVERED,
    QUEUED,
    REFUSED,
    KeyDistributionRequest,
)
from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Place
from tiktrue_keys.core.dispatch.outbox import (
    KEY,
    LIST,
    addressed,
    all_dispatches_of_keys,
    get_dispatch,
    nodes_of,
    open_dispatches,
)
from tiktrue_keys.core.dispatch.peers import all_progress, roster
from tiktrue_keys.core.dispatch.revocation_lists import keys_on_list
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind


def state_of(progress: PeerProgress, place: Place) -> str:
    """Return the delivery state of one envelope."""
    if progress.refused(place):
        return REFUSED
    if progress.has_acknowledged(place):
        return ACKNOWLEDGED
    return DELIVERED if progress.was_sent(place) else QUEUED


def requests_of(rows: Rows, old_key_id: str) -> list[KeyDistributionRequest]:
    """Return the state of every client that a rotation named: nodes from the outbox, other clients as recorded.

    Of a node that was sent the key more than once, the last time counts.
    """
    payloads = rows.owned_by(RecordKind.DELIVERY, Owner(RecordKind.ROTATION, old_key_id))
    requests = [KeyDistributionRequest.from_json(payload) for payload in payloads if "dispatch" not in payload]
    parts = sorted((each for each in payloads if "dispatch" in each), key=itemgetter("dispatch"))
    of_nodes: dict[str, KeyDistributionRequest] = {}
    fleet: Mapping[str, PeerProgress] = all_progress(rows) if parts else {}
    for part in parts:
        dispatch = get_dispatch(rows, part["dispatch"])
        if dispatch is None or dispatch.kind != KEY:
            continue
        for node_id, place in addressed(part):
            if node_id in fleet:
                state, name = state_of(fleet[node_id], place), fleet[node_id].name
                of_nodes[name] = KeyDistributionRequest(
                    dispatch.key_id, name, dispatch.at, dispatch.operation_id, state
                )
    return [*requests, *of_nodes.values()]


def holders(rows: Rows, key_id: str) -> list[str]:
    """Return the ids of the pinned nodes that a key was queued for and that have not refused it."""
    fleet = all_progress(rows)
    node_ids: dict[str, None] = {}
    for dispatch, nodes in all_dispatches_of_keys(rows):
        if dispatch.key_id == key_id:
            for node_id, place in nodes:
                if node_id in fleet and not fleet[node_id].refused(place):
                    node_ids[node_id] = None
    return list(node_ids)


def keys_sent_to(rows: Rows, node_id: str) -> list[str]:
    """Return the ids of the keys that were ever queued for a node, oldest first."""
    key_ids: dict[str, None] = {}
    for dispatch, nodes in all_dispatches_of_keys(rows):
        if any(each == node_id for each, _ in nodes):
            key_ids[dispatch.key_id] = None
    return list(key_ids)


def laggards(rows: Rows, old_key_id: str | None) -> list[str]:
    """Return the names of the nodes that were told of the rotation of this key and have not acknowledged it.

    They get every generation in turn, so that a further rotation does not have to wait for them.
    """
    if old_key_id is None or roster(rows).count == 0:
        return []
    return sorted(item.client for item in requests_of(rows, old_key_id) if item.state in (QUEUED, DELIVERED))


def lacking_revocation(rows: Rows, fleet: Mapping[str, PeerProgress]) -> frozenset[str]:
    """Return the ids of the nodes that have not acknowledged a list which revokes a key."""
    return frozenset(
        node_id
        for dispatch in (open_dispatches(rows) if fleet else ())
        if dispatch.kind == LIST and keys_on_list(rows, dispatch.list_number)
        for node_id, place in nodes_of(rows, dispatch)
        if node_id in fleet and not fleet[node_id].has_acknowledged(place)
    )
