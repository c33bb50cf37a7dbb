"""The operation `rebind`: seals the keystore to every fact of the machine as it is now.

Come here before and after a hardware change, after host secret or marks were moved, and for a keystore whose mark was
lost.
core/keystore/drift_reseal.py seals to single facts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tiktrue_keys.core.approvals.policy import BINDING as APPROVAL
from tiktrue_keys.core.approvals.policy import get_policy
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.canonical import record_json
from tiktrue_keys.core.fingerprint import Anchor, Binding, DriftReport, choose_anchors, drift, opens, without_kinds
from tiktrue_keys.core.keys.licenses import License, must_recognise
from tiktrue_keys.core.keystore.backup import next_epoch, record_epoch
from tiktrue_keys.core.keystore.bind import (
    BINDING,
    NOT_MOVED,
    Moved,
    moved_paths,
    read_binding,
    read_replacing,
    record_paths,
    reseal,
)
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import must_fit
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.verify import extended_checkpoint
from tiktrue_keys.core.replacement import must_replace, parse_replacement, settled
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, UsageError

OPERATION = "rebind"


@dataclass(frozen=True, kw_only=True)
class Rebound(OperationResult):
    """The binding before and after, and how the machine differed from the former.

    `replacing` are the facts whose new part is awaited, `undone` those of which it is awaited no longer although it did
    not come. `moved` are the paths of host secret and marks that are not those that were recorded. `replaced_mark`: no
    mark of the keystore was left, and there is one again.
    """

    before: Binding
    after: Binding
    drift: DriftReport
    replacing: tuple[FactKind, ...] = ()
    undone: tuple[FactKind, ...] = ()
    moved: Moved = NOT_MOVED
    replaced_mark: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class _Plan:
    """What a rebind is about to do."""

    before: Binding
    after: Binding
    replacing: tuple[Anchor, ...] = ()
    undone: tuple[Anchor, ...] = ()
    dropped: frozenset[FactKind] = frozenset()

    @property
    def changes(self) -> bool:
        """Return whether there is anything to seal."""
        return self.after != self.before or bool(self.replacing or self.undone)

    def detail(self) -> dict[str, list[str]]:
        """Return what the record names beside the facts."""
        named = {"dropped": self.dropped, "replacing": _kinds_of(self.replacing), "undone": _kinds_of(self.undone)}
        return {name: sorted(kind.value for kind in kinds) for name, kinds in named.items() if kinds}


def rebind(
    session: KeystoreSession,
    license_key: License | None,
    *,
    dry_run: bool,
    operation_id: str | None,
    drop: Sequence[str] = (),
    replace: Sequence[str] = (),
    against: bytes | None = None,
) -> Rebound:
    """Seal to every fact that can be read now. A fact that cannot be read stays in the binding.

    Before a planned repair, `drop` names facts to leave out, and the next rebind takes the new ones in; `replace` names
    the new facts as KIND=NEW, and the keystore opens with the old part and with the new one until the new one is there.
    A rebind without them ends a replacement. It also records where host secret and marks are now, and writes a mark
    where none is left. A keystore with licenses needs one of them: the licensee decides on a new binding, not every
    process with root rights.

    `against`, a signed checkpoint that was kept elsewhere, needs no license: it replaces the lost mark of a keystore
    whose log extends the checkpoint, and begins a new epoch, as a restore does: the checkpoint does not prove that no
    later record was lost.

    Raises UsageError without the license or for a fact that is not in the binding, WrongLicenseError for an unknown
    license, RefusedError where this machine would not open the keystore any more, or a new fact does not name one
    machine, IntegrityError for a lost mark with neither license nor checkpoint, and for a log that does not extend the
    checkpoint. RefusedError for a checkpoint where the policy wants approvals for the binding: without a mark none
    can be given.
    """
    if drop and replace:
        raise UsageError("facts are dropped or replaced, not both at once", "run it twice")
    if against is not None and (drop or replace):
        raise UsageError("a checkpoint changes no binding", "replace the mark first")
    arguments: dict[str, object] = {
        name: sorted(given) for name, given in (("drop", drop), ("replace", replace)) if given
    }
    if against is not None:
        arguments["against"] = hashlib.sha256(against).hexdigest()
    asked = OperationRequest.of(OPERATION, operation_id, arguments)

    def do(operation: Operation) -> Rebound:
        with session.accepting_lost_marks():  # not around `once`: recording a refusal writes a mark
            if against is not None:
                return _replace_mark(session, against, dry_run, operation)
            return _rebind(session, license_key, dry_run, drop, replace, operation)

    return once(session, asked, do, _repeated, must_open=False)


def _dropped(before: Binding, names: Sequence[str]) -> frozenset[FactKind]:
    """Return the kinds to leave out. Raises UsageError for one that the keystore is not sealed to."""
    sealed = {kind.value: kind for kind in before.kinds}
    for name in names:
        if name not in sealed:
            raise UsageError(
                f"the keystore is not sealed to '{name}'", f"it is sealed to {', '.join(sealed) or 'no fact'}"
            )
    return frozenset(sealed[name] for name in names)


def _next_binding(before: Binding, facts: MachineFacts, drop: frozenset[FactKind]) -> Binding:
    """Return the binding to seal to. Raises RefusedError where this machine would not open it."""
    after = without_kinds(choose_anchors(facts, before), drop)
    if opens(after, facts):
        return after
    if drop:
        raise RefusedError(
            "without these facts this machine would not open the keystore any more", "put the missing part back first"
        )
    return before  # without a shared value that it is sealed to, this machine would not open it any more


def _plan(session: KeystoreSession, view: Snapshot, drop: Sequence[str], given: Sequence[str]) -> _Plan:
    stored, known = read_binding(view.rows), read_replacing(view.rows)
    if not given:
        before, undone = settled(stored, known, session.facts())
        dropped = _dropped(stored, drop)
        return _Plan(stored, _next_binding(before, session.facts(), dropped), undone=undone, dropped=dropped)
    awaited = {anchor.kind: anchor for anchor in known}
    for anchor in map(parse_replacement, given):
        must_replace(stored, anchor, virtual=session.facts().virtual)
        awaited[anchor.kind] = anchor
    wanted = tuple(sorted(awaited.values(), key=lambda anchor: anchor.kind.value))
    after, left = settled(stored, wanted, session.facts())
    must_fit(view.document, after, left)
    return _Plan(stored, after, left)


def _rebind(
    session: KeystoreSession,
    license_key: License | None,
    dry_run: bool,
    drop: Sequence[str],
    given: Sequence[str],
    operation: Operation,
) -> Rebound:
    with session.read() as (view, _):
        licensed = view.rows.get(RecordKind.LICENSE, "first") is not None
        moved, is_lost = moved_paths(session.keystore, view.document), session.keystore.has_lost_marks(view.document)
        plan = _plan(session, view, drop, given)
    result = Rebound(
        operation_id=operation.id,
        changed=not dry_run and (plan.changes or bool(moved) or is_lost),
        before=plan.before,
        after=plan.after,
        drift=drift(plan.before, session.facts()),
        replacing=_kinds_of(plan.replacing),
        undone=_kinds_of(plan.undone),
        moved=moved,
        replaced_mark=is_lost,
        dry_run=dry_run,
    )
    if not result.changed:
        return result
    if licensed and license_key is None:
        raise UsageError("rebind needs a license of this keystore", "pass license_key", remedy="needs-license")
    if is_lost and not licensed:
        raise session.keystore.marks.gone(session.keystore.document_now())
    prepared = session.prepare(license_key) if licensed else None
    with operation.write() as transaction:
        if prepared is not None:
            must_recognise(prepared, transaction.rows, session.root_keys)
        must_be_approved(transaction, _proposal(plan))
        before = transaction.document
        moved = record_paths(session.keystore, transaction)
        detail = plan.detail()
        detail |= {"host_secret": [str(moved.host_secret)]} if moved.host_secret else {}
        detail |= {"marks": [str(moved.marks)]} if moved.marks else {}
        detail |= {"mark": ["replaced"]} if is_lost else {}
        reseal(
            session.keystore,
            transaction,
            plan.after,
            paused=True,
            event=OPERATION,
            detail=detail,
            dropped=plan.dropped,
            replacing=plan.replacing,
        )
        operation.remember(transaction, [["before", *each] for each in plan.before.to_json()])
    if moved.marks:
        session.keystore.marks.leave(before, session.keystore.document_now())
    return result


def _replace_mark(session: KeystoreSession, against: bytes, dry_run: bool, operation: Operation) -> Rebound:
    notices: list[Notice] = []
    with session.exclusive() as keystore:
        with session.read() as (view, now):
            binding, document, size = read_binding(view.rows), view.document, view.audit.size
            older = extended_checkpoint(view, against)
            is_lost = keystore.has_lost_marks(document)
            if is_lost and get_policy(view.rows).needed((APPROVAL,)):
                words = "the policy wants approvals for the binding, and none can be given without a mark"
                raise RefusedError(words, "restore the newest backup", remedy="rolled-back")
        if is_lost and not dry_run:
            epoch = next_epoch(document, None, 0, now)
            detail = {"mark": ["replaced"], "against": {"size": older.size, "root": older.root.hex()}}
            with (
                keystore.new_epoch(
                    epoch, session.read_clock, actor=session.actor, operation_id=operation.id, accept_clock=False
                ) as transaction,
                operation.within(transaction),
            ):
                record_epoch(transaction, epoch, None, OPERATION, **detail)
                operation.remember(transaction, [["before", *each] for each in binding.to_json()])
            keystore.write_mark_of_epoch()
            words = (
                f"epoch {epoch} has begun; nodes must accept it. The checkpoint covers {older.size} of {size} records"
            )
            notices.append(Notice("new-epoch", f"{words}: it does not prove that none was lost after them"))
    return Rebound(
        operation_id=operation.id,
        changed=is_lost and not dry_run,
        before=binding,
        after=binding,
        drift=drift(binding, session.facts()),
        replaced_mark=is_lost,
        dry_run=dry_run,
        warnings=tuple(notices),
    )


def _proposal(plan: _Plan) -> Proposal:
    """Return what approvers see of a binding: kinds, and a digest in the place of the machine's identifiers."""
    sealed: dict[str, object] = {"anchors": plan.after.to_json()}
    facts: dict[str, object] = {"facts": [kind.value for kind in plan.after.kinds]}
    if plan.replacing:
        sealed["replacing"] = Binding(plan.replacing).to_json()
        facts["replacing"] = [kind.value for kind in _kinds_of(plan.replacing)]
    facts["sha256"] = hashlib.sha256(record_json(sealed)).hexdigest()
    return Proposal(APPROVAL, "this machine", facts, [(RecordKind.BINDING, BINDING)])


def _repeated(first: FirstRun) -> Rebound:
    """Return the binding before the first run, and the present binding with its drift."""
    before = Binding.from_json([anchor for _, *anchor in first.items])
    with first.read() as (view, _):
        after, awaited = read_binding(view.rows), read_replacing(view.rows)
    report = drift(after, first.session.facts())
    return Rebound(
        operation_id=first.operation_id,
        changed=False,
        before=before,
        after=after,
        drift=report,
        replacing=_kinds_of(awaited),
    )


def _kinds_of(anchors: Sequence[Anchor]) -> tuple[FactKind, ...]:
    """Return the kinds of some facts."""
    return tuple(anchor.kind for anchor in anchors)
