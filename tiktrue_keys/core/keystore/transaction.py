"""The view that an operation has of a keystore: a verified snapshot, or a transaction that records every change.

Come here for audit records and effective time. store.py begins, verifies and commits transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.instants import DAY, Instant, rfc3339
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.errors import RefusedError

CLOCK_LEAP = 400 * DAY
"""A clock further ahead of the newest audit record than this is taken for wrong, not for a long silence."""

SILENCE = 30 * DAY
"""A longer gap between two audit records may be a wrong clock.

It blocks destruction until the operator accepts the clock.
"""

GAP = "gap"


@dataclass(frozen=True)
class KeystoreState:
    """The single row of the table `state`."""

    audit_size: int
    audit_head: bytes
    checkpoint: str
    root: bytes


class Snapshot:
    """A consistent view of the keystore: its header, its records and its audit log."""

    def __init__(self, document: Document, state: KeystoreState, rows: Rows, audit: AuditLog) -> None:
        self.document = document
        self.state = state
        self.rows = rows
        self.audit = audit


class Transaction(Snapshot):
    """A snapshot that may be written to.

    `now` is the effective time: the clock, but never earlier than the newest audit record.
    """

    def __init__(self, view: Snapshot, now: Instant, actor: Actor, operation_id: OperationId) -> None:
        super().__init__(view.document, view.state, view.rows, view.audit)
        self.now = now
        self.actor = actor
        self.operation_id = operation_id
        newest = view.audit.newest_time()
        self._gap_since = newest if view.audit.size and now - newest > SILENCE else None

    def record(
        self,
        event: str,
        *,
        outcome: str = "ok",
        key_id: str | None = None,
        model_id: str | None = None,
        before: str | None = None,
        after: str | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Append an audit record of this operation.

        The first one after a long silence also stores the gap, for cleanup.
        """
        if self._gap_since is not None:
            gap, self._gap_since = {"since": self._gap_since, "until": self.now}, None
            self.rows.put(RecordKind.CLOCK_GAP, GAP, gap)
            self.record("clock-gap", detail=gap)
        self.audit.append(
            time=self.now,
            actor=self.actor,
            event=event,
            outcome=outcome,
            operation_id=self.operation_id,
            key_id=key_id,
            model_id=model_id,
            before=before,
            after=after,
            detail=dict(detail or {}),
        )

    def replace_document(self, document: Document) -> None:
        """Use a new header from this transaction on (re-seal, new cost)."""
        self.document = document


def effective_time(clock: Instant, newest: Instant, *, accept_clock: bool) -> Instant:
    """Return the clock, but never earlier than the newest audit record.

    Raises RefusedError when the clock has leapt ahead, unless `accept_clock`.
    """
    if clock > newest + CLOCK_LEAP and not accept_clock:
        raise RefusedError(
            f"the clock says {rfc3339(clock)}, more than 400 days after the newest audit record ({rfc3339(newest)})",
            "set the clock right, or accept it",
            remedy="clock-leapt",
        )
    return Instant(max(clock, newest))
