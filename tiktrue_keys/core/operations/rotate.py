"""The operation `rotate`: plans on a snapshot, reads the license only when needed, then rotates in one transaction.

Come here for how a batch treats keys that fail; the rules of a rotation are in core/keys/rotation.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tiktrue_keys.core.containers.registry import ContainerRecord, containers_of
from tiktrue_keys.core.dispatch.deliveries import laggards
from tiktrue_keys.core.dispatch.distribution_request import UNDELIVERABLE, KeyDistributionRequest
from tiktrue_keys.core.fingerprint import fingerprint_of
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.creation import must_be_whole
from tiktrue_keys.core.keys.deadlines import due_keys
from tiktrue_keys.core.keys.key_results import Failure, Rotation
from tiktrue_keys.core.keys.keyring import StoredKey
from tiktrue_keys.core.keys.licenses import License, PreparedLicense, RecognisedLicense, must_recognise, recognise
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN
from tiktrue_keys.core.keys.reactivation import rotate_or_renew
from tiktrue_keys.core.keys.renewed import settle_renewal
from tiktrue_keys.core.keys.rotation import (
    RotationTerms,
    every_rotatable_key,
    named_keys,
    record_clients,
    split_by_license,
)
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.heartbeat import begin_scheduled_run
from tiktrue_keys.core.operations.results import RotateResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError, UsageError

OPERATION = "rotate"
_SHOWN = 8
DAMAGED = ""
"""The key id of a failure that is a damaged part of the keystore: which keys it holds is not known."""


@dataclass(frozen=True)
class RotateRequest:
    """The arguments of a rotation: exactly one of `keys` (KEY arguments), `every` and `due`."""

    keys: tuple[str, ...] = ()
    every: bool = False
    due: bool = False
    within: Seconds = DEFAULT_WITHIN
    license_key: License | None = None
    terms: RotationTerms = field(default_factory=RotationTerms)
    atomic: bool = False
    dry_run: bool = False

    def check(self) -> None:
        """Raise UsageError for contradictory or malformed arguments."""
        if (bool(self.keys) + self.every + self.due) != 1:
            raise UsageError("a rotation takes keys, every key, or those due", "pass one", remedy="what-to-rotate")
        must_be_whole(self.within)
        self.terms.check()


@dataclass(frozen=True)
class _Plan:
    """The keys to rotate, and the root of the keystore when the plan was made."""

    root: bytes
    keys: list[StoredKey]
    damaged: list[Failure]


def rotate(session: KeystoreSession, request: RotateRequest, operation_id: str | None) -> RotateResult:
    """Rotate the keys that the request names. When none is due, nothing is changed and no license is read.

    Raises UsageError for contradictory arguments or a missing license, WrongLicenseError for another license, and
    RevokedError or RefusedError for a named key that cannot be rotated.
    """
    request.check()
    asked = OperationRequest.of(OPERATION, operation_id, arguments_of(request, without=("license_key", "dry_run")))
    return once(session, asked, partial(_rotate, session, request), _repeated)


def _rotate(session: KeystoreSession, request: RotateRequest, operation: Operation) -> RotateResult:
    notices = begin_scheduled_run(session, dry_run=request.dry_run) if request.due else ()
    rotated = _rotate_planned(session, request, operation)
    return replace(rotated, warnings=(*rotated.warnings, *notices))


def _rotate_planned(session: KeystoreSession, request: RotateRequest, operation: Operation) -> RotateResult:
    with session.read() as (view, now):
        damaged: list[IntegrityError] = []
        planned = _plan(view.rows, request, now, damaged)
        plan = _Plan(view.state.root, planned, [Failure(DAMAGED, error) for error in damaged])
    if request.dry_run:
        return _dry_run(session, request, operation.id, planned)
    if damaged and request.atomic:
        raise damaged[0]
    if not planned:
        return RotateResult(operation_id=operation.id, changed=False, failures=tuple(plan.damaged))
    prepared = session.prepare(_needed_license(request, planned))
    if request.due and not request.atomic:
        rotated = _rotate_due(session, request, operation, plan, prepared)
        return replace(rotated, failures=(*rotated.failures, *plan.damaged))
    return _rotate_together(session, request, operation, prepared, plan)


def _plan(rows: Rows, request: RotateRequest, now: Instant, damaged: list[IntegrityError]) -> list[StoredKey]:
    if request.due:
        return due_keys(rows, now, request.within, damaged)
    return every_rotatable_key(rows, now) if request.every else named_keys(rows, request.keys, now)


def _needed_license(request: RotateRequest, planned: Sequence[StoredKey]) -> License | None:
    """Return the license if a planned key has one. Without it, a batch still rotates the keys that have none."""
    licensed = [stored.key.key_id for stored in planned if stored.key.license_tag is not None]
    if not licensed:
        return None
    if request.license_key is None and (request.keys or len(licensed) == len(planned)):
        raise UsageError(f"key {licensed[0]} needs its license", "pass license_key", remedy="needs-license")
    return request.license_key


def _rotate_together(
    session: KeystoreSession,
    request: RotateRequest,
    operation: Operation,
    prepared: PreparedLicense | None,
    plan: _Plan | None = None,
) -> RotateResult:
    """Rotate all keys in one transaction.

    Named keys must all belong to the license; in a batch the others are listed as failures.
    """
    with operation.write() as transaction:
        planned = plan.keys if plan and plan.root == transaction.state.root else None
        if planned is None:  # another process has written since the plan was made
            planned = _plan(transaction.rows, request, transaction.now, [])
        batch = request.every or request.due
        opened = _recognised(session, transaction, prepared, batch=batch)
        mine, others = split_by_license(planned, opened)
        if others and (not batch or (request.atomic and mine)):
            raise others[0].error
        terms = _terms_here(transaction, request.terms)
        keys = session.root_keys
        behind = {name for stored in mine for name in laggards(transaction.rows, stored.key.predecessor)}
        rotations = [rotate_or_renew(transaction, keys, stored, terms, opened) for stored in mine]
        requests = _notify(transaction, rotations, terms)
        if rotations:
            operation.remember(transaction, [_link(rotation) for rotation in rotations])
        else:
            operation.leave_open()
        containers = _stale(transaction.rows, rotations)
        if request.every and rotations:
            settle_renewal(transaction)
    return _result(operation.id, rotations, others, containers, requests, behind)


def _rotate_due(
    session: KeystoreSession,
    request: RotateRequest,
    operation: Operation,
    plan: _Plan,
    prepared: PreparedLicense | None,
) -> RotateResult:
    """Rotate the healthy keys in one transaction. When that fails, rotate each key in its own.

    One bad key must not hold up the rest.
    """
    try:
        return _rotate_together(session, request, operation, prepared, plan)
    except TikTrueKeysError as error:
        if error.key_id is None and not isinstance(error, IntegrityError):
            raise  # not about one key: the clock, the lock, the disk, an unknown license
        if len(plan.keys) == 1:
            return _result(operation.id, [], [Failure(plan.keys[0].key.key_id, error)], (), [], ())
    rotations: list[Rotation] = []
    failures: list[Failure] = []
    requests: list[KeyDistributionRequest] = []
    behind: set[str] = set()
    containers: dict[tuple[bytes, str], ContainerRecord] = {}
    for key_id in (stored.key.key_id for stored in plan.keys):
        single = replace(request, keys=(key_id,), due=False)
        try:
            of_its_own = Operation(session, OperationRequest.of(OPERATION, None, {}))
            one = _rotate_together(session, single, of_its_own, prepared)
        except TikTrueKeysError as error:
            failures.append(Failure(key_id, error))
        else:
            rotations += one.rotations
            requests += one.distributions
            behind.update(one.laggards)
            containers.update({(record.file_id, record.path): record for record in one.containers})
    return _result(operation.id, rotations, failures, tuple(containers.values()), requests, behind)


def _recognised(
    session: KeystoreSession, transaction: Transaction, prepared: PreparedLicense | None, *, batch: bool
) -> RecognisedLicense | None:
    """Return the recognised license. A batch continues without an unknown license, for the keys that need none."""
    if prepared is None:
        return None
    keys = session.root_keys
    return recognise(prepared, transaction.rows, keys) if batch else must_recognise(prepared, transaction.rows, keys)


def _terms_here(transaction: Transaction, terms: RotationTerms) -> RotationTerms:
    return replace(terms, fingerprint=fingerprint_of(read_binding(transaction.rows)))


def _notify(
    transaction: Transaction, rotations: Sequence[Rotation], terms: RotationTerms
) -> list[KeyDistributionRequest]:
    requests = []
    for rotation in rotations:
        requests += record_clients(transaction, rotation, terms)
    return requests


def _stale(rows: Rows, rotations: Sequence[Rotation]) -> tuple[ContainerRecord, ...]:
    """Return the containers to rewrap. Those under a revoked key are not among them: a rewrap would not help them."""
    found = {
        (record.file_id, record.path): record
        for rotation in rotations
        if rotation.old.revoked_at is None
        for record in containers_of(rows, rotation.old.key_id)
    }
    return tuple(sorted(found.values(), key=lambda record: (record.path, record.file_id)))


def _result(
    operation: OperationId,
    rotations: Sequence[Rotation],
    failures: Sequence[Failure],
    containers: tuple[ContainerRecord, ...],
    requests: Sequence[KeyDistributionRequest],
    behind: Collection[str],
) -> RotateResult:
    clients = sorted({request.client for request in requests if request.state == UNDELIVERABLE})
    notices = tuple(
        Notice("undeliverable", f"'{client}' is not a pinned node; the rotation is recorded, nothing was sent")
        for client in clients
    )
    if behind:
        notices = (*notices, _of_laggards(sorted(behind)))
    return RotateResult(
        operation_id=operation,
        changed=bool(rotations),
        warnings=notices,
        rotations=tuple(rotations),
        failures=tuple(failures),
        containers=containers,
        distributions=tuple(requests),
        laggards=tuple(sorted(behind)),
    )


def _of_laggards(names: Sequence[str]) -> Notice:
    """Return the warning that names the nodes which have not acknowledged the rotation before."""
    listed = ", ".join(names[:_SHOWN]) + " ..." * (len(names) > _SHOWN)
    words = f"{plural(len(names), 'node')} without the rotation before this one: {listed}"
    return Notice("node-behind", words, remedy="node-behind", about={"node": names[0]})


def _dry_run(
    session: KeystoreSession, request: RotateRequest, operation: OperationId, planned: list[StoredKey]
) -> RotateResult:
    """Return the plan. For a batch it reads the license, if one was passed, to tell which keys that can rotate."""
    mine, others = planned, list[Failure]()
    if request.license_key is not None and not request.keys:
        prepared = session.prepare(_needed_license(request, planned))
        with session.read() as (view, _):
            opened = recognise(prepared, view.rows, session.root_keys) if prepared is not None else None
        mine, others = split_by_license(planned, opened)
        if others and mine and request.atomic:
            raise others[0].error
    rotations = tuple(Rotation(stored.key, None) for stored in mine)
    return RotateResult(
        operation_id=operation, changed=False, rotations=rotations, failures=tuple(others), dry_run=True
    )


def _link(rotation: Rotation) -> list[str]:
    return [rotation.old.key_id, rotation.new.key_id if rotation.new else ""]


def _repeated(first: FirstRun) -> RotateResult:
    olds, news = first.keys(old for old, _ in first.items), first.keys(new for _, new in first.items)
    rotations = tuple(Rotation(old, new) for old, new in zip(olds, news, strict=True))
    with first.read() as (view, _):
        containers = _stale(view.rows, rotations)
    return RotateResult(operation_id=first.operation_id, changed=False, rotations=rotations, containers=containers)
