"""The view that an operation has of a keystore: a verified snapshot, or a transaction that records every change.

Come here for audit records and effective time. store.py begins, verifies and commits transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.clock import SILENCE, ClockReading, Gap
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.rehearsal import must_be_rehearsed
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import OperationId

GAP = "gap"
"""The name of the stored gap. `since` and `until` are equal where an earlier version stored REGISTRY under it."""

REGISTRY = "registry"
"""The name under which a restore stores that the registry may lack containers, for cleanup."""

_SHOWN = 8


@dataclass(frozen=True)
class KeystoreState:
    """The single row of the table `state`."""

    audit_size: int
    audit_head: bytes
    checkpoint: str
    root: bytes


class Snapshot:
    """A consistent view of the keystore: its header, its records, its audit log, and the heartbeat of its mark."""

    def __init__(
        self, document: Document, state: KeystoreState, rows: Rows, audit: AuditLog, heartbeat: Instant | None = None
    ) -> None:
        self.document = document
        self.state = state
        self.rows = rows
        self.audit = audit
        self.heartbeat = heartbeat


ReadClock = Callable[[Snapshot], ClockReading]
"""Reads the clock and judges it by a snapshot."""


class Transaction(Snapshot):
    """A snapshot that may be written to.

    `now` is the time that its records bear: the effective time, except where a doubtful clock is confirmed or noted.
    `reading` is the clock; None while the keystore is created. `approval` is the number of the approved plan that the
    caller names; None without one; `used_approval` tells whether an operation used it. `last_checks` run before it is
    committed, for what is known only then.
    """

    def __init__(
        self,
        view: Snapshot,
        now: Instant,
        actor: Actor,
        operation_id: OperationId,
        reading: ClockReading | None = None,
    ) -> None:
        super().__init__(view.document, view.state, view.rows, view.audit, view.heartbeat)
        self.now = now
        if self.heartbeat is not None:
            self.heartbeat = min(self.heartbeat, now)  # earlier only where the operator confirms an earlier clock
        self.actor = actor
        self.operation_id = operation_id
        self.approval: int | None = None
        self.used_approval = False
        self.last_checks: list[Callable[[Transaction], None]] = []
        is_silent = reading is not None and now - reading.last_known > SILENCE
        self._silence = reading if is_silent else None
        self._of_keys: list[tuple[str, str]] = []

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
        operation_id: OperationId | None = None,
    ) -> None:
        """Append an audit record of this operation, or of `operation_id`, one of many in this transaction.

        The first one after a long silence also records the gap, and stores it if the clock is unsynchronised. Raises
        RefusedError for a change that a rehearsal does not make.
        """
        if outcome == "ok":
            must_be_rehearsed(self.document, str(detail["act"]) if event == "intent" and detail else event)
        if key_id is not None:
            self._of_keys.append((event, key_id))
        if self._silence is not None:
            reading, self._silence = self._silence, None
            gap = {"since": reading.last_known, "until": self.now}
            if reading.is_called_wrong:
                self.rows.put(RecordKind.CLOCK_GAP, GAP, gap)
            self.record("clock-gap", detail=gap)
        self.audit.append(
            time=self.now,
            actor=self.actor,
            event=event,
            outcome=outcome,
            operation_id=operation_id or self.operation_id,
            key_id=key_id,
            model_id=model_id,
            before=before,
            after=after,
            detail=dict(detail or {}),
        )

    def summary(self) -> str:
        """Return what is recorded of keys, for a message: `generate llama_0123456789abcdef`. Empty without any."""
        shown = [f"{event} {key_id}" for event, key_id in self._of_keys[:_SHOWN]]
        return ", ".join(shown) + f" and {len(self._of_keys) - _SHOWN} more" * (len(self._of_keys) > _SHOWN)

    def replace_document(self, document: Document) -> None:
        """Use a new header from this transaction on (re-seal, new cost)."""
        self.document = document


def unconfirmed_gap(rows: Rows) -> Gap | None:
    """Return the stored gap, or None."""
    stored = rows.get(RecordKind.CLOCK_GAP, GAP)
    return None if stored is None or stored["since"] == stored["until"] else Gap(stored["since"], stored["until"])


def lacks_containers(rows: Rows) -> bool:
    """Return whether the registry may lack containers since a restore, and the operator has not looked since."""
    stored = rows.get(RecordKind.CLOCK_GAP, GAP)
    by_earlier_version = stored is not None and stored["since"] == stored["until"]
    return by_earlier_version or rows.get(RecordKind.CLOCK_GAP, REGISTRY) is not None
