"""Lists the envelopes that each node still lacks, in order, from the outbox on one snapshot.

Come here for which envelopes a round sends, and which it sends again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.audit.merkle import EMPTY_ROOT
from tiktrue_keys.core.dispatch.node_progress import Place
from tiktrue_keys.core.dispatch.outbox import (
    KEY,
    LIST,
    PROMOTE,
    VOID,
    Dispatch,
    all_dispatches,
    nodes_of,
    open_dispatches,
)
from tiktrue_keys.core.dispatch.peers import NODE, all_progress
from tiktrue_keys.core.dispatch.revocation_lists import issued_list
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.fleet.envelopes import Head, Vouched
from tiktrue_keys.fleet.payloads import key_payload, list_payload, promotion_payload

RESEND_AFTER = Seconds(30 * DAY)
"""An unacknowledged envelope is sealed again after this time; an envelope is valid for 90 days."""


@dataclass(frozen=True)
class Job:
    """One envelope to seal. `previous` is the size of the audit head that the node holds before it."""

    stream: int
    number: int
    dispatch: Dispatch
    previous: int


@dataclass(frozen=True)
class Item:
    """The current contents of a dispatch. A key that was revoked after it was queued has become `void`."""

    kind: str
    payload: dict[str, Any]


@dataclass
class Plan:
    """The jobs by node id, their contents by dispatch number, and the heads and proofs that they vouch for.

    `streams` are the streams of all nodes by node id, also of those that lack nothing.
    """

    epoch: int
    base: Head
    streams: dict[str, int]
    jobs: dict[str, list[Job]]
    items: dict[int, Item]
    heads: dict[int, Head]
    proofs: dict[tuple[int, int], tuple[bytes, ...]]

    def vouched(self, job: Job) -> Vouched:
        """Return the head that a job's envelope vouches for, with its proof."""
        size = job.dispatch.audit_size
        return Vouched(self.heads[size], job.previous, self.proofs[job.previous, size], self.base)

    @property
    def count(self) -> int:
        """Return the number of envelopes."""
        return sum(len(jobs) for jobs in self.jobs.values())


def epoch_base(view: Snapshot) -> Head:
    """Return the head with which the keystore's epoch began.

    It is the empty tree in epoch 1, else the tree up to and including the record of the restore.
    """
    if view.document.epoch == 1:
        return Head(0, EMPTY_ROOT)
    size = view.audit.first_of_epoch(view.document.epoch) + 1
    return Head(size, view.audit.head_at(size))


def make_plan(view: Snapshot, now: Instant, issuer: str, sign: Signer) -> Plan:
    """Return a plan of everything that was queued and not sent, or sent long ago and not acknowledged."""
    plan = Plan(view.document.epoch, epoch_base(view), {}, {}, {}, {}, {})
    queued, whole = _queued(view), False
    for node_id, progress in all_progress(view.rows).items():
        if progress.role != NODE:
            continue
        plan.streams[node_id] = progress.stream
        again = now >= progress.sent_at + RESEND_AFTER
        previous = max(progress.acked_size, plan.base.size)
        for number in range(progress.acked + 1, progress.issued + 1):
            place = (progress.stream, number)
            if place not in queued.get(node_id, {}) and not whole:
                queued, whole = _queued(view, whole=True), True
            dispatch = queued.get(node_id, {}).get(place) or _void(previous, now)
            if number > progress.sent or again:
                plan.jobs.setdefault(node_id, []).append(Job(*place, dispatch, previous))
                _fill(plan, view, now, plan.jobs[node_id][-1], issuer, sign)
            previous = dispatch.audit_size
    return plan


def _queued(view: Snapshot, *, whole: bool = False) -> dict[str, dict[Place, Dispatch]]:
    """Map node id and place to each open dispatch, or to every dispatch of this epoch when `whole`.

    A node that was removed and pinned again may lack a completed dispatch; it must get the same contents again.
    """
    found: dict[str, dict[Place, Dispatch]] = {}
    first = epoch_base(view).size if whole else 0
    for dispatch in (each for each, _ in all_dispatches(view.rows)) if whole else open_dispatches(view.rows):
        if dispatch.audit_size >= first:
            for node_id, place in nodes_of(view.rows, dispatch):
                found.setdefault(node_id, {})[place] = dispatch
    return found


def _void(size: int, now: Instant) -> Dispatch:
    """Return a stand-in for a number without a dispatch, so that the numbers after it do not wait for ever."""
    return Dispatch(0, VOID, size, now, "")


def _fill(plan: Plan, view: Snapshot, now: Instant, job: Job, issuer: str, sign: Signer) -> None:
    dispatch, size = job.dispatch, job.dispatch.audit_size
    if dispatch.number not in plan.items:
        plan.items[dispatch.number] = _item(view, now, dispatch, issuer, sign)
    if size not in plan.heads:
        plan.heads[size] = Head(size, view.audit.head_at(size))
    if (job.previous, size) not in plan.proofs:
        plan.proofs[job.previous, size] = tuple(view.audit.consistency_proof(job.previous, size))


def _item(view: Snapshot, now: Instant, dispatch: Dispatch, issuer: str, sign: Signer) -> Item:
    if dispatch.kind == LIST:
        found = issued_list(view.rows, dispatch.list_number, issuer, view.document.epoch)
        return Item(LIST, list_payload(found, sign)) if found else Item(VOID, {})
    stored = get_key(view.rows, dispatch.key_id, now) if dispatch.kind in (KEY, PROMOTE) else None
    if stored is None or stored.key.status in (Status.REVOKED, Status.DESTROYED):
        return Item(VOID, {})
    before = get_key(view.rows, stored.key.predecessor, now) if stored.key.predecessor else None
    predecessor = before.key if before else None
    if dispatch.kind == PROMOTE:
        return Item(PROMOTE, promotion_payload(stored.key, predecessor))
    return Item(KEY, key_payload(stored.key, predecessor))
