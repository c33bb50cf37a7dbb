"""The operation `rebind`: seals the keystore to every fact of the machine as it is now.

Come here before and after a hardware change, and after the host secret was moved: `rebind` records its path.
core/keystore/drift_reseal.py seals to single facts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tiktrue_keys.core.approvals.policy import BINDING as APPROVAL
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.canonical import record_json
from tiktrue_keys.core.fingerprint import Binding, DriftReport, choose_anchors, drift, opens, without_kinds
from tiktrue_keys.core.keys.licenses import License, must_recognise
from tiktrue_keys.core.keystore.bind import BINDING, is_secret_moved, read_binding, record_secret_path, reseal
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, UsageError

OPERATION = "rebind"


@dataclass(frozen=True, kw_only=True)
class Rebound(OperationResult):
    """The binding before and after, and how the machine differed from the former.

    `moved_to` is the path of the host secret where it is not the one that was recorded.
    """

    before: Binding
    after: Binding
    drift: DriftReport
    moved_to: Path | None = None
    dry_run: bool = False


def rebind(
    session: KeystoreSession,
    license_key: License | None,
    *,
    dry_run: bool,
    operation_id: str | None,
    drop: Sequence[str] = (),
) -> Rebound:
    """Seal to every fact that can be read now. A fact that cannot be read stays in the binding.

    `drop` names facts to leave out before a planned repair; the next rebind takes the new ones in. A keystore with
    licenses needs one of them: the licensee decides on a new binding, not every process with root rights. Raises
    UsageError without the license or for a fact that is not in the binding, WrongLicenseError for an unknown license,
    RefusedError where this machine would not open the keystore any more.
    """
    arguments = {"drop": sorted(drop)} if drop else {}
    asked = OperationRequest.of(OPERATION, operation_id, arguments)
    return once(session, asked, partial(_rebind, session, license_key, dry_run, drop), _repeated)


def _dropped(before: Binding, names: Sequence[str]) -> frozenset[FactKind]:
    """Return the kinds to leave out. Raises UsageError for one that the keystore is not sealed to."""
    sealed = {kind.value: kind for kind in before.kinds}
    for name in names:
        if name not in sealed:
            raise UsageError(f"the keystore is not sealed to '{name}'", f"it is sealed to {', '.join(sealed)}")
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


def _rebind(
    session: KeystoreSession, license_key: License | None, dry_run: bool, drop: Sequence[str], operation: Operation
) -> Rebound:
    with session.read() as (view, _):
        before = read_binding(view.rows)
        licensed = view.rows.get(RecordKind.LICENSE, "first") is not None
        moved_to = session.secret_path() if is_secret_moved(session.keystore, view.document) else None
    dropped = _dropped(before, drop)
    after = _next_binding(before, session.facts(), dropped)
    report = drift(before, session.facts())
    result = Rebound(
        operation_id=operation.id,
        changed=not dry_run and (after != before or moved_to is not None),
        before=before,
        after=after,
        drift=report,
        moved_to=moved_to,
        dry_run=dry_run,
    )
    if not result.changed:
        return result
    if licensed and license_key is None:
        raise UsageError("rebind needs a license of this keystore", "pass license_key", remedy="needs-license")
    prepared = session.prepare(license_key) if licensed else None
    with operation.write() as transaction:
        if prepared is not None:
            must_recognise(prepared, transaction.rows, session.root_keys)
        must_be_approved(transaction, _proposal(after))
        detail = {"dropped": sorted(drop)} if drop else {}
        if moved_to is not None:
            record_secret_path(session.keystore, transaction)
            detail["host_secret"] = [str(moved_to)]
        reseal(session.keystore, transaction, after, paused=True, event=OPERATION, detail=detail, dropped=dropped)
        operation.remember(transaction, [["before", *each] for each in before.to_json()])
    return result


def _proposal(binding: Binding) -> Proposal:
    """Return what approvers see of a binding: kinds, and a digest in the place of the machine's identifiers."""
    digest = hashlib.sha256(record_json({"anchors": binding.to_json()})).hexdigest()
    facts = {"facts": [kind.value for kind in binding.kinds], "sha256": digest}
    return Proposal(APPROVAL, "this machine", facts, [(RecordKind.BINDING, BINDING)])


def _repeated(first: FirstRun) -> Rebound:
    """Return the binding before the first run, and the present binding with its drift."""
    before = Binding.from_json([anchor for _, *anchor in first.items])
    with first.read() as (view, _):
        after = read_binding(view.rows)
    report = drift(after, first.session.facts())
    return Rebound(operation_id=first.operation_id, changed=False, before=before, after=after, drift=report)
