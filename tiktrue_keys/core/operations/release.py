"""The operation `models release`: names containers and folders of models, and withdraws them, in one transaction.

Come here for who may release what. The package models checks the containers themselves before it calls this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tiktrue_keys.core.containers.registry import get_container
from tiktrue_keys.core.dispatch.peers import NODE, all_progress
from tiktrue_keys.core.dispatch.releases import Release, ReleaseEntry, get_release, own_releases, put_release
from tiktrue_keys.core.dispatch.revocation_lists import next_number, publish
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.authority import must_be_authority
from tiktrue_keys.core.keys.keyring import head_ids
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import NotFoundError, RefusedError

EVENT = "release"
_LISTED = 16
"""Ids that an audit record names; the rest are counted."""


@dataclass(frozen=True)
class ReleaseRequest:
    """What to name, by model id, and which ids (16 bytes) to withdraw. With `only`, their models name nothing else."""

    add: Mapping[str, Sequence[ReleaseEntry]] = field(default_factory=dict)
    withdraw: Sequence[bytes] = ()
    only: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Released(OperationResult):
    """The releases as they are now, or would be: one for each model concerned. `nodes` are told by the next sync.

    `left` are the ids that these releases named before and do not name any more.
    """

    releases: tuple[Release, ...]
    left: tuple[bytes, ...] = ()
    nodes: int = 0
    dry_run: bool = False


def release(session: KeystoreSession, request: ReleaseRequest, asked: OperationRequest) -> Released:
    """Change the releases of models whose authority this keystore is, and queue them for every node.

    Raises NotFoundError for an id to withdraw that is neither released nor registered, and RefusedError for a model of
    another authority, a withdrawn id, or too many.
    """
    return once(session, asked, partial(_release, session, request), _repeated)


def _release(session: KeystoreSession, request: ReleaseRequest, operation: Operation) -> Released:
    if request.dry_run:
        with session.read() as (view, now):
            before, after = _changes(view, request, now)
        return _released(operation.id, before, after, dry_run=True)
    with operation.write() as transaction:
        before, after = _changes(transaction, request, transaction.now)
        changed = [new for old, new in zip(before, after, strict=True) if new != old]
        made = issue_releases(transaction, changed, before)
        if changed:
            operation.remember(transaction, [[each.model_id] for each in after])
        nodes = sum(peer.role == NODE for peer in all_progress(transaction.rows).values()) if changed else 0
    by_model = {each.model_id: each for each in made}
    now_standing = [by_model.get(each.model_id, each) for each in after]
    return _released(operation.id, before, now_standing, changed=bool(changed), nodes=nodes)


def issue_releases(transaction: Transaction, releases: Sequence[Release], before: Sequence[Release]) -> list[Release]:
    """Store releases of this keystore under the number of their next list, record them, and queue the list.

    `before` are the releases that they replace, for the record of what changed.
    """
    known = {each.model_id: each for each in before}
    made = []
    for each in releases:
        stamped = replace(
            each,
            epoch=transaction.document.epoch,
            number=next_number(transaction.rows),
            issued_at=transaction.now,
        )
        put_release(transaction.rows, stamped)
        detail = _detail(known.get(each.model_id, Release(each.model_id)), stamped)
        transaction.record(EVENT, model_id=each.model_id, detail=detail)
        publish(transaction, releases=[stamped])
        made.append(stamped)
    return made


def _changes(view: Snapshot, request: ReleaseRequest, now: Instant) -> tuple[list[Release], list[Release]]:
    """Return the releases of the models concerned, before and after."""
    rows = view.rows
    withdraw: dict[str, list[bytes]] = {}
    for file_id in request.withdraw:
        withdraw.setdefault(_model_of(rows, file_id), []).append(file_id)
    before, after = [], []
    for model_id in sorted({*request.add, *withdraw}):
        _must_have_keys(rows, model_id)
        known = get_release(rows, model_id) or Release(model_id)
        add, gone = request.add.get(model_id, ()), withdraw.get(model_id, ())
        if not add and not known.number:
            raise RefusedError(
                f"model {model_id} has no release, so nothing can be withdrawn from it",
                "release the containers that are in use first",
                remedy="release-first",
            )
        before.append(known)
        after.append(known.amended(add, gone, now, only=request.only and bool(add)))
    return before, after


def _model_of(rows: Rows, file_id: bytes) -> str:
    for each in own_releases(rows):
        if file_id in each.withdrawn or any(entry.file_id == file_id for entry in each.entries):
            return each.model_id
    record = get_container(rows, file_id)
    if record is None:
        words = f"{file_id.hex()} is neither released nor registered"
        raise NotFoundError(words, "releases() lists every release", remedy="list-releases")
    return record.model_id


def _must_have_keys(rows: Rows, model_id: str) -> None:
    """Raise RefusedError unless this keystore has keys of the model, and is its authority."""
    if not head_ids(rows, model_id):
        raise RefusedError(f"this keystore has no key of model {model_id}", remedy="list-keys")
    must_be_authority(rows, model_id)


def _detail(before: Release, after: Release) -> dict[str, object]:
    old, new = {each.file_id for each in before.entries}, {each.file_id for each in after.entries}
    detail: dict[str, object] = {"epoch": after.epoch, "number": after.number, "named": len(after.entries)}
    lists = {
        "added": new - old,
        "left": old - new,
        "withdrawn": {*after.withdrawn} - {*before.withdrawn},
        "leaving": {each.file_id for each in after.entries if each.until and each not in before.entries},
    }
    for name, ids in lists.items():
        if ids:
            detail[name] = [each.hex() for each in sorted(ids)[:_LISTED]]
            detail |= {f"{name}_count": len(ids)} if len(ids) > _LISTED else {}
    return detail


def _released(
    operation_id: str,
    before: Sequence[Release],
    after: Sequence[Release],
    *,
    changed: bool = False,
    nodes: int = 0,
    dry_run: bool = False,
) -> Released:
    named = {entry.file_id for each in after for entry in each.entries}
    return Released(
        operation_id=operation_id,
        changed=changed,
        releases=tuple(after),
        left=tuple(entry.file_id for each in before for entry in each.entries if entry.file_id not in named),
        nodes=nodes,
        dry_run=dry_run,
    )


def _repeated(first: FirstRun) -> Released:
    with first.read() as (view, _):
        found = [get_release(view.rows, model_id) for (model_id,) in first.items]
    return Released(
        operation_id=first.operation_id, changed=False, releases=tuple(each for each in found if each is not None)
    )
