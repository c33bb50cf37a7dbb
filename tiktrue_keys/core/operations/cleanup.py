"""The operation `cleanup`: marks candidates, destroys marked keys in a later run, and says why a key is kept.

Come here for how a run is planned; the reasons are in core/keys/destruction.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tiktrue_keys.core.approvals.policy import DESTROY, get_policy
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.containers.registry import ContainerRecord, every_container
from tiktrue_keys.core.instants import DAY, Instant, Seconds, rfc3339
from tiktrue_keys.core.keys import destruction
from tiktrue_keys.core.keys.creation import must_be_whole
from tiktrue_keys.core.keys.destruction import WrapsIn
from tiktrue_keys.core.keys.holders import holding_of
from tiktrue_keys.core.keys.key_results import Kept
from tiktrue_keys.core.keys.keyring import StoredKey, all_keys, find_key, must_get_key
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DESTROY_AFTER, MAX_LIFETIME, ManagedKey, Status
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction, lacks_containers
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.heartbeat import begin_scheduled_run
from tiktrue_keys.core.operations.results import CleanupResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, UsageError

OPERATION = "cleanup"
_SHOWN = 8


@dataclass(frozen=True)
class CleanupRequest:
    """The arguments of a cleanup. `keys` limits it to these (KEY arguments); it is an error when all of them are kept.

    `confirm` holds ids of keys that may be destroyed although their containers or the nodes that hold them cannot be
    checked.
    """

    keys: tuple[str, ...] = ()
    after: Seconds = DEFAULT_DESTROY_AFTER
    dry_run: bool = False
    cancel: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    wraps_in: WrapsIn | None = None


@dataclass
class _Plan:
    """The candidates by what happens to them, and the ids that were confirmed for nothing."""

    mark: list[StoredKey] = field(default_factory=list)
    destroy: list[StoredKey] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """Return a warning for each confirmation that let nothing pass: its key may have been mistyped."""
        words = "the confirmation of key {} was not needed: nothing that it covers keeps the key"
        return tuple(Notice("idle-confirmation", words.format(key_id), key_id) for key_id in self.idle)


def clean_up(session: KeystoreSession, request: CleanupRequest, operation_id: str | None) -> CleanupResult:
    """Run one cleanup, or unmark the keys in `cancel`. Return what was done.

    Raises UsageError for contradictory arguments, NotFoundError for an unknown key, and RefusedError for a doubtful
    clock, and for a named key that is kept or is not a candidate.
    """
    if request.cancel and (request.keys or request.confirm):
        words = "pass cancel without keys and confirm"
        raise UsageError("a run that unmarks keys does not process others", words, remedy="cancel-alone")
    must_be_whole(request.after)
    if not 0 <= request.after <= MAX_LIFETIME:
        raise UsageError("the time until destruction is out of bounds", f"from 0s to {MAX_LIFETIME // DAY}d")
    asked = OperationRequest.of(OPERATION, operation_id, arguments_of(request, without=("dry_run", "wraps_in")))
    return once(session, asked, partial(_cancel if request.cancel else _clean_up, session, request), _repeated)


def _clean_up(session: KeystoreSession, request: CleanupRequest, operation: Operation) -> CleanupResult:
    notices = begin_scheduled_run(session, dry_run=request.dry_run)
    cleaned = _mark_and_destroy(session, request, operation)
    return replace(cleaned, warnings=(*cleaned.warnings, *notices))


def _mark_and_destroy(session: KeystoreSession, request: CleanupRequest, operation: Operation) -> CleanupResult:
    with session.read() as (view, now):
        for key_id in request.confirm:
            must_get_key(view.rows, key_id, now)
        registered = every_container(view.rows)
    wraps_in = _read_once(registered, request.wraps_in)  # reads files, so outside of a transaction
    with session.read() as (view, now):
        plan = _plan(view, request, wraps_in, now)
    if request.keys and plan.kept and not (plan.mark or plan.destroy):
        kept = plan.kept[0]
        raise RefusedError(
            f"key {kept.key.key_id} is kept: {kept.reason}",
            key_id=kept.key.key_id,
            remedy=kept.remedy,
            about=kept.about,
        )
    if request.dry_run or not (plan.mark or plan.destroy):
        return CleanupResult(
            operation_id=operation.id,
            changed=False,
            marked=tuple(stored.key for stored in plan.mark),
            destroyed=tuple(stored.key for stored in plan.destroy),
            kept=tuple(plan.kept),
            dry_run=request.dry_run,
            warnings=plan.warnings,
        )
    return _clean(request, wraps_in, operation)


def _clean(request: CleanupRequest, wraps_in: WrapsIn, operation: Operation) -> CleanupResult:
    marked = _mark_first(request, wraps_in, operation)
    with operation.write() as transaction:
        plan = _plan(transaction, request, wraps_in, transaction.now)
        if plan.destroy:
            must_be_approved(transaction, _proposal(request, plan))
        marked += tuple(destruction.mark(transaction, stored, request.after) for stored in plan.mark)
        destroyed = tuple(destruction.destroy(transaction, stored) for stored in plan.destroy)
        if marked or destroyed:
            items = [["marked", key.key_id] for key in marked] + [["destroyed", key.key_id] for key in destroyed]
            operation.remember(transaction, items)
    return CleanupResult(
        operation_id=operation.id,
        changed=bool(marked or destroyed),
        marked=marked,
        destroyed=destroyed,
        kept=tuple(plan.kept),
        warnings=plan.warnings,
    )


def _mark_first(request: CleanupRequest, wraps_in: WrapsIn, operation: Operation) -> tuple[ManagedKey, ...]:
    """Mark keys in a transaction of their own where others wait for approval: marks need none, and must not wait."""
    with operation.write() as transaction:
        plan = _plan(transaction, request, wraps_in, transaction.now)
        if not (plan.mark and plan.destroy and get_policy(transaction.rows).needed((DESTROY,))):
            return ()
        operation.leave_open()
        return tuple(destruction.mark(transaction, stored, request.after) for stored in plan.mark)


def _proposal(request: CleanupRequest, plan: _Plan) -> Proposal:
    keys = ", ".join(sorted(request.keys)[:_SHOWN]) or "every key that is due"
    confirmed: dict[str, Any] = {"confirm": sorted(request.confirm)} if request.confirm else {}
    return Proposal(DESTROY, keys, confirmed, [(RecordKind.KEY, stored.key.key_id) for stored in plan.destroy])


def _repeated(first: FirstRun) -> CleanupResult:
    return CleanupResult(
        operation_id=first.operation_id,
        changed=False,
        marked=_keys_of(first, "marked"),
        destroyed=_keys_of(first, "destroyed"),
        cancelled=_keys_of(first, "cancelled"),
    )


def _keys_of(first: FirstRun, outcome: str) -> tuple[ManagedKey, ...]:
    return first.keys(key_id for kind, key_id in first.items if kind == outcome)


def _read_once(registered: list[ContainerRecord], wraps_in: WrapsIn | None) -> WrapsIn:
    """Read every container now. One that is registered or rewrapped later needs all keys that its row names."""
    if wraps_in is None:
        return lambda record: record.keys
    readings = {(record.file_id, record.path): (record.keys, wraps_in(record)) for record in registered}

    def remembered(record: ContainerRecord) -> frozenset[str] | None:
        keys, found = readings.get((record.file_id, record.path), (frozenset[str](), None))
        return found if keys == record.keys else record.keys

    return remembered


def _plan(view: Snapshot, request: CleanupRequest, wraps_in: WrapsIn, now: Instant) -> _Plan:
    plan, idle = _Plan(), {*request.confirm}
    needs = destruction.needs_of(view.rows, wraps_in)
    incomplete = lacks_containers(view.rows)
    candidates = _candidates(view.rows, request, now)
    holding = holding_of(view, (stored.key for stored in candidates), now)
    for stored in candidates:
        key = stored.key
        kept = destruction.reason_to_keep(key, needs, holding, request.confirm)
        if key.key_id in idle and kept != destruction.reason_to_keep(key, needs, holding, ()):
            idle.remove(key.key_id)
        if kept is None and key.destroy_at is not None:
            kept = destruction.waits(key, now, lacks_containers=incomplete)
        if kept is not None:
            plan.kept.append(kept)
        elif key.destroy_at is None:
            plan.mark.append(stored)
        else:
            plan.destroy.append(stored)
    plan.idle += sorted(idle)
    return plan


def _candidates(rows: Rows, request: CleanupRequest, now: Instant) -> list[StoredKey]:
    if not request.keys:
        found = [stored for stored in all_keys(rows, now) if _is_candidate(stored.key, now)]
        return sorted(found, key=lambda stored: stored.key.order)
    named = [find_key(rows, argument, now) for argument in request.keys]
    for stored in named:
        if not _is_candidate(stored.key, now):
            raise _no_candidate(stored.key)
    return named


def _is_candidate(key: ManagedKey, now: Instant) -> bool:
    return key.status is not Status.DESTROYED and destruction.is_candidate(key, now)


def _no_candidate(key: ManagedKey) -> RefusedError:
    words = f"key {key.key_id} is {key.status.value}"
    if key.status is Status.DESTROYED:
        return RefusedError(words, "leave it out", key_id=key.key_id)
    if key.status in (Status.DEPRECATED, Status.EXPIRED, Status.ROTATING):
        words += f" and decrypts until {rfc3339(key.decrypt_until)}"
    hint = "only revoked keys and those past their decrypt-until"
    if key.status is Status.ACTIVE:
        return RefusedError(words, hint, key_id=key.key_id, remedy="rotate-or-revoke")
    return RefusedError(words, hint, key_id=key.key_id, remedy="wait-or-revoke")


def _cancel(_: KeystoreSession, request: CleanupRequest, operation: Operation) -> CleanupResult:
    with operation.write() as transaction:
        found = [find_key(transaction.rows, argument, transaction.now).key.key_id for argument in request.cancel]
        cancelled = _cancel_all(transaction, found)
        operation.remember(transaction, [["cancelled", key.key_id] for key in cancelled])
    return CleanupResult(operation_id=operation.id, changed=True, cancelled=tuple(cancelled))


def _cancel_all(transaction: Transaction, key_ids: Sequence[str]) -> list[ManagedKey]:
    cancelled = []
    for key_id in key_ids:
        key = destruction.cancel(transaction, key_id)
        if key is None:
            stored = must_get_key(transaction.rows, key_id, transaction.now)
            raise RefusedError(f"key {key_id} is not marked ({stored.key.status.value})", key_id=key_id)
        cancelled.append(key)
    return cancelled
