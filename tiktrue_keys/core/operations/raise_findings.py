"""Raises findings once: an audit record, and so an event, for each that is new, and one for each that is gone.

Come here for events that time brings: a key that is due, a backup that is old. `rotate --due` calls it at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tiktrue_keys.core.audit.keystore_event import BY_FINDING, CLEARED, RAISED
from tiktrue_keys.core.findings.finding import Finding
from tiktrue_keys.core.instants import Seconds, rfc3339
from tiktrue_keys.core.keys.deadlines import due_keys
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.session import KeystoreSession

_NAME = "raised"
_MOST = 64
"""Findings that are raised at a time; a record holds them."""

_Id = tuple[str, str]


@dataclass(frozen=True)
class RaisedFindings:
    """The findings that were raised now, and how many that were raised before are gone."""

    raised: tuple[Finding, ...]
    cleared: int


def raise_findings(session: KeystoreSession, within: Seconds) -> RaisedFindings:
    """Record the findings that no earlier call has met, and the end of those that are gone. Nothing new: no record."""
    found = {_id(each): each for each in _events(session, within)}
    standing = dict(list(found.items())[:_MOST])
    with session.read() as (view, _):
        if _known(view.rows) == set(standing):
            return RaisedFindings((), 0)
    with session.write(new_operation_id()) as transaction:
        known = _known(transaction.rows)
        new = [each for name, each in standing.items() if name not in known]
        gone = sorted(known - set(standing))
        if new or gone:
            pairs = [list(name) for name in standing]
            transaction.rows.put(RecordKind.FINDING, _NAME, {"raised": pairs})
        for each in new:
            detail = {"finding": each.id, "subject": each.subject, "reason": each.message, "since": each.since}
            detail = {name: value for name, value in detail.items() if value not in (None, "")}
            transaction.record(RAISED, detail=detail)
        for finding, subject in gone:
            transaction.record(CLEARED, detail={"finding": finding, "subject": subject})
    return RaisedFindings(tuple(new), len(gone))


def _events(session: KeystoreSession, within: Seconds) -> Iterator[Finding]:
    """Yield the findings that become events; that keys are due, for each of these keys."""
    for each in keystore_status(session, within).findings:
        if each.id == "rotation-due":
            with session.read() as (view, now):
                due = [stored.key for stored in due_keys(view.rows, now, within, [])]
            for key in due[:_MOST]:
                words = f"key {key.key_id} is due for rotation: it expires at {rfc3339(key.expires_at)}"
                yield replace(each, subject=key.key_id, message=words, since=key.expires_at)
        elif each.id in BY_FINDING:
            yield each


def _known(rows: Rows) -> set[_Id]:
    stored = rows.get(RecordKind.FINDING, _NAME)
    return {(finding, subject) for finding, subject in stored["raised"]} if stored else set()


def _id(finding: Finding) -> _Id:
    return finding.id, finding.subject
