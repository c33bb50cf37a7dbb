"""The outbox: what is to be sent to which node, recorded in the transaction of the operation that sends it.

Come here for the delivery of a key. A dispatch is one item for many nodes: a key, a revocation list, a promotion. Each
node gets it under the next envelope number of its own stream; these places alone determine what a node still lacks. The
package fleet seals and sends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tiktrue_keys.core.dispatch.distribution_request import (
    UNDELIVERABLE,
    KeyDistributionRequest,
)
from tiktrue_keys.core.dispatch.new_holders import note_holders
from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Place, carried_over
from tiktrue_keys.core.dispatch.peers import (
    NODE,
    all_progress,
    progress_rows,
    put_progress,
    put_roster,
    roster,
)
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.errors import RefusedError

KEY = "key"
LIST = "revocation-list"
PROMOTE = "promote"
VOID = "void"
KINDS = (KEY, LIST, PROMOTE, VOID)

MAX_NUMBER = (1 << 31) - 1
"""The last number of a stream."""
_NODES_A_PART = 128
_SHOWN = 8


@dataclass(frozen=True)
class Dispatch:
    """One item for many nodes. `key_id` is empty for a list, whose number is `list_number`.

    `audit_size` is the size of the audit log that its envelopes vouch for. It is fixed here, so that an envelope that
    is sealed again states the same size. `old_key_id` is the rotated key to whose event the dispatch belongs, if any.
    """

    number: int
    kind: str
    audit_size: int
    at: Instant
    operation_id: str
    key_id: str = ""
    generation: int = 0
    old_key_id: str = ""
    list_number: int = 0
    parts: int = 0
    done: bool = False


def queue(
    transaction: Transaction,
    kind: str,
    node_ids: Iterable[str],
    *,
    key_id: str = "",
    generation: int = 0,
    old_key_id: str = "",
    list_number: int = 0,
) -> Dispatch | None:
    """Queue one item for these nodes and return its dispatch; None without nodes.

    Call it after the operation has recorded its audit record.
    """
    wanted = set(node_ids)
    if not wanted:
        return None
    restart_epoch(transaction)
    if kind == KEY:
        note_holders(transaction, key_id, wanted, _holders_of_models)
    rows = transaction.rows
    counters = roster(rows)
    numbered: list[tuple[str, int, int]] = []
    for shard, members in progress_rows(rows, wanted):
        chosen = [node_id for node_id in members if node_id in wanted]
        if chosen:
            for node_id in chosen:
                members[node_id] = each = _issued(members[node_id])
                numbered.append((node_id, each.issued, each.stream))
            put_progress(rows, shard, members)
    parts = [numbered[at : at + _NODES_A_PART] for at in range(0, len(numbered), _NODES_A_PART)]
    dispatch = Dispatch(
        counters.next_dispatch,
        kind,
        transaction.audit.size,
        transaction.now,
        transaction.operation_id,
        key_id,
        generation,
        old_key_id,
        list_number,
        len(parts),
    )
    owner = Owner(RecordKind.ROTATION, old_key_id) if old_key_id else Owner(RecordKind.KEY, key_id) if key_id else None
    for place, part in enumerate(parts):
        payload = {"dispatch": dispatch.number, "nodes": [list(each) for each in part]}
        rows.put(RecordKind.DELIVERY, f"part {dispatch.number} {place}", payload, owner)
    put_dispatch(rows, dispatch)
    put_roster(rows, replace(counters, next_dispatch=dispatch.number + 1))
    return dispatch


def _holders_of_models(rows: Rows) -> Iterator[tuple[str, str]]:
    """Yield the key id and node id of every key that was ever queued for a node."""
    return ((dispatch.key_id, node) for dispatch, nodes in all_dispatches_of_keys(rows) for node, _ in nodes)


def _issued(progress: PeerProgress) -> PeerProgress:
    """Return the progress with one more number."""
    if progress.issued == MAX_NUMBER:
        words = f"node '{progress.name}' was sent {MAX_NUMBER} envelopes, the most of one stream"
        raise RefusedError(words, "begin its next stream", remedy="resend", about={"node": progress.name})
    return replace(progress, issued=progress.issued + 1)


def is_behind_epoch(view: Snapshot) -> bool:
    """Return whether what is queued belongs to an epoch that a restore or a rekey has ended."""
    counters = roster(view.rows)
    return counters.count > 0 and counters.epoch != view.document.epoch


def restart_epoch(transaction: Transaction) -> None:
    """After a restore, begin a stream for every node, and queue again what it had not acknowledged in the epoch before.

    Every list that revokes a key or carries a release goes out again to all: whether a node has gone back meanwhile is
    not known before it follows the new epoch.
    """
    rows = transaction.rows
    if not is_behind_epoch(transaction):
        return
    counters = roster(rows)
    before = all_progress(rows)
    nodes = [node_id for node_id, each in before.items() if each.role == NODE]
    again = [
        (item, nodes if _says_something(rows, item) else _lacking(rows, item, before))
        for item in dispatches(rows)
        if not item.done or _says_something(rows, item)
    ]
    told = {dispatch.number for dispatch, _ in again if dispatch.kind == LIST}
    for shard, members in progress_rows(rows):
        put_progress(rows, shard, {node_id: _afresh(each, told) for node_id, each in members.items()})
    put_roster(rows, replace(counters, epoch=transaction.document.epoch, first_open=counters.next_dispatch))
    for dispatch, node_ids in again:
        put_dispatch(rows, replace(dispatch, done=True))
        queue_again(transaction, dispatch, node_ids)


def _afresh(progress: PeerProgress, told: Collection[int]) -> PeerProgress:
    """Return the progress at the beginning of an epoch in which the dispatches `told` go out again."""
    lacks = carried_over(each for each in progress.refusals if each.dispatch not in told)
    name, role = progress.name, progress.role
    return PeerProgress(progress.node_id, name, role, stream=progress.stream + 1, refusals=lacks)


def _says_something(rows: Rows, dispatch: Dispatch) -> bool:
    """Return whether a dispatch is a list that revokes a key or carries a release."""
    if dispatch.kind != LIST:
        return False
    payload = rows.get(RecordKind.REVOCATION_LIST, f"list {dispatch.list_number}") or {}
    return bool(payload.get("revoked") or payload.get("releases"))


def _lacking(rows: Rows, dispatch: Dispatch, fleet: Mapping[str, PeerProgress]) -> list[str]:
    return [
        node_id for node_id, place in nodes_of(rows, dispatch) if node_id in fleet and not _has(fleet, node_id, place)
    ]


def queue_again(transaction: Transaction, dispatch: Dispatch, node_ids: Iterable[str]) -> None:
    """Queue the same item once more for these nodes."""
    queue(
        transaction,
        dispatch.kind,
        node_ids,
        key_id=dispatch.key_id,
        generation=dispatch.generation,
        old_key_id=dispatch.old_key_id,
        list_number=dispatch.list_number,
    )


def put_dispatch(rows: Rows, dispatch: Dispatch) -> None:
    """Store a dispatch without its nodes."""
    rows.put(RecordKind.DELIVERY, f"dispatch {dispatch.number}", asdict(dispatch))


def get_dispatch(rows: Rows, number: int) -> Dispatch | None:
    """Return a dispatch, or None."""
    payload = rows.get(RecordKind.DELIVERY, f"dispatch {number}")
    return Dispatch(**payload) if payload else None


def open_dispatches(rows: Rows) -> Iterator[Dispatch]:
    """Yield the dispatches that a node may still lack, oldest first."""
    counters = roster(rows)
    for number in range(counters.first_open, counters.next_dispatch):
        dispatch = get_dispatch(rows, number)
        if dispatch is not None and not dispatch.done:
            yield dispatch


def nodes_of(rows: Rows, dispatch: Dispatch) -> list[tuple[str, Place]]:
    """Return node id and place of every node that a dispatch goes to."""
    nodes: list[tuple[str, Place]] = []
    for part in range(dispatch.parts):
        payload = rows.get(RecordKind.DELIVERY, f"part {dispatch.number} {part}")
        nodes += addressed(payload) if payload else []
    return nodes


def addressed(part: Mapping[str, Any]) -> list[tuple[str, Place]]:
    """Return node ids and places of a stored part. Before there were streams, everything was in the first one."""
    return [(node_id, (stream[0] if stream else 1, number)) for node_id, number, *stream in part["nodes"]]


def _has(fleet: Mapping[str, PeerProgress], node_id: str, place: Place) -> bool:
    return fleet[node_id].has_acknowledged(place)


def close_done(rows: Rows) -> None:
    """Mark the dispatches that every node has acknowledged, so that they are not examined again."""
    counters = roster(rows)
    fleet = all_progress(rows)
    first = counters.next_dispatch
    for dispatch in open_dispatches(rows):
        if all(node_id not in fleet or _has(fleet, node_id, place) for node_id, place in nodes_of(rows, dispatch)):
            put_dispatch(rows, replace(dispatch, done=True))
        else:
            first = min(first, dispatch.number)
    if first != counters.first_open:
        put_roster(rows, replace(counters, first_open=first))


def nodes_among(rows: Rows, clients: Sequence[str], *, every: bool) -> dict[str, str]:
    """Return the node ids of those clients (names or node ids) that are pinned nodes; of every node if `every`."""
    if not (clients or every) or roster(rows).count == 0:
        return {}
    named = set(clients)
    node_ids: dict[str, str] = {}
    for node_id, progress in all_progress(rows).items():
        if progress.role == NODE:
            node_ids.update({name: node_id for name in (progress.name, node_id) if name in named})
            if every:
                node_ids[progress.name] = node_id
    return node_ids


def dispatches(rows: Rows) -> Iterator[Dispatch]:
    """Yield every dispatch, open or done, oldest first."""
    found = (get_dispatch(rows, number) for number in range(1, roster(rows).next_dispatch))
    return (each for each in found if each is not None)


def all_dispatches(rows: Rows) -> Iterator[tuple[Dispatch, list[tuple[str, Place]]]]:
    """Yield every dispatch with its nodes and their places, oldest first."""
    return ((each, nodes_of(rows, each)) for each in dispatches(rows))


def all_dispatches_of_keys(rows: Rows) -> Iterator[tuple[Dispatch, list[tuple[str, Place]]]]:
    """Yield every dispatch that carries a key, with its nodes and their places."""
    return (each for each in all_dispatches(rows) if each[0].kind == KEY)


def undeliverable(transaction: Transaction, key_id: str, old_key_id: str, client: str) -> KeyDistributionRequest:
    """Record a client that is not a node, and return its request."""
    request = KeyDistributionRequest(key_id, client, transaction.now, transaction.operation_id, UNDELIVERABLE)
    owner = Owner(RecordKind.ROTATION, old_key_id)
    transaction.rows.put(RecordKind.DELIVERY, f"{key_id} {client}", request.to_json(), owner)
    return request


def described(kind: str, count: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the detail of an audit record about many nodes."""
    return {"kind": kind, "count": count, "nodes": sorted(names)[:_SHOWN]}
