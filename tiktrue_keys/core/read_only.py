"""Uses the keys of a keystore that cannot be written to, and records each use in the system log first.

Come here for `--audit-to` on a read-only mount. Operations that change keys fail on such a keystore, and its
registry stays unchanged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from tiktrue_keys.core.approvals.policy import get_policy
from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.audit.record_sinks import Sink
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.owner_process import this_process
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.containers.settlement import Ending
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.backup import write_backup
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.slots import escrow_slots
from tiktrue_keys.core.keystore.subject import NOTHING, Subject
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.backup import BACKUP, BackedUp
from tiktrue_keys.core.outputs import FileKind
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError, UnavailableError


class SystemLogManager(KeyManager):
    """A manager of the same keystore that records every release of plaintext in the system log, or in a sink.

    Raises UnavailableError when that does not accept the record; nothing is released then. An operation id is
    written to the record but not remembered: repeating it performs the operation again.
    """

    def __init__(self, manager: KeyManager, sink: Sink | None = None) -> None:
        super().__init__(session=manager.session)
        self._sink = sink
        self._begun: dict[str, FileIntent] = {}

    def record_uses(
        self,
        event: str,
        uses: Sequence[tuple[ManagedKey, Mapping[str, Any]]],
        *,
        request: OperationRequest | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        """Record in the system log that plaintext or key material is about to be released.

        Raises UnavailableError when the log does not accept the record, RefusedError when the policy wants an approval;
        then nothing may be released.
        """
        self._must_need_no_approval(proposal)
        request = request or OperationRequest.of(event, None, {})
        for key, detail in uses:
            self._record(event, request.operation_id, key_id=key.key_id, model_id=key.model_id, detail=dict(detail))

    def begin_file_operations(
        self, begun: Sequence[tuple[FileIntent, OperationRequest | None]], proposal: Proposal | None = None
    ) -> tuple[FileIntent, ...]:
        """Record intents in the system log and return them with their operation ids.

        They are not stored: if this process dies, no later command settles them. Raises RefusedError when the policy
        wants an approval.
        """
        self._must_need_no_approval(proposal)
        return tuple(self._begin(intent, request) for intent, request in begun)

    def _must_need_no_approval(self, proposal: Proposal | None) -> None:
        if proposal is None:
            return
        with self.session.read() as (view, _):
            needed = get_policy(view.rows).needed(proposal.operations)
        if needed:
            raise RefusedError(
                f"{proposal.kind} needs approval, and a read-only keystore cannot store that an approval was used",
                "make the keystore writable",
            )

    def _begin(self, intent: FileIntent, request: OperationRequest | None) -> FileIntent:
        operation = (request or OperationRequest.of(intent.operation, None, {})).operation_id
        begun = replace(intent, operation_id=operation, process=this_process(), at=self.now())
        self._record("intent", operation, **_of(intent), detail={"act": intent.operation, **_where(intent)})
        self._begun[operation] = begun
        return begun

    def finish_file_operations(self, endings: Mapping[str, Ending]) -> None:
        """Record outcomes in the system log; the keys and effects on others are not used.

        Raises IntegrityError when this manager did not begin the operation.
        """
        for operation_id, ending in endings.items():
            intent = self._begun.pop(operation_id, None)
            if intent is None:
                raise IntegrityError(f"operation {operation_id} was not begun here")
            detail = {**_where(intent), **ending.detail}
            self._record(intent.operation, operation_id, outcome=ending.outcome, **_of(intent), detail=detail)

    def backup(
        self, destination: str | PathLike[str], *, force: bool = False, operation_id: str | None = None
    ) -> BackedUp:
        """Copy a keystore that cannot be written to, such as a snapshot, recorded in the system log before and after.

        Its status does not know of the copy.
        """
        path = Path(destination).absolute()
        operation = OperationRequest.of(BACKUP, operation_id, {}).operation_id
        with self.noting(BACKUP, operation):
            gate = self.output_gate()
            gate.check(path, FileKind.BACKUP)
            with self.session.read() as (view, _):
                size, holds_escrow = view.audit.size, bool(escrow_slots(view.document))
            self._record("intent", operation, detail={"act": BACKUP, "path": str(path)})
            write_backup(self.session.keystore, path, force=force, gate=gate)
            self._record(BACKUP, operation, detail={"path": str(path), "records": size})
        return BackedUp(operation_id=operation, changed=True, path=path, audit_size=size, holds_escrow=holds_escrow)

    def register_all(
        self, records: Sequence[ContainerRecord], moved_from: Mapping[tuple[bytes, str], str] | None = None
    ) -> None:
        """Nothing: the registry cannot be written to."""

    @contextlib.contextmanager
    def noting(self, event: str, operation_id: str | None = None, subject: Subject = NOTHING) -> Iterator[None]:
        """Run a file operation, and report its refusal or failure to the system log as well."""
        try:
            with super().noting(event, operation_id, subject):
                yield
        except Exception as error:
            self.session.report(error)
            raise

    def _record(self, event: str, operation_id: str, *, outcome: str = "ok", **members: Any) -> None:
        with self.session.read() as (view, now):
            epoch, number = view.document.epoch, view.audit.size
        actor = self.session.actor
        entry = AuditRecord(now, actor, event, outcome, operation_id, epoch=epoch, number=number, **members)
        if self._sink is None:
            self.session.recorder.record(entry)
            return
        try:
            self._sink.write([entry])
        except TikTrueKeysError as error:
            raise UnavailableError(f"the sink does not take the audit record: {error.message}", error.hint) from error


def _of(intent: FileIntent) -> dict[str, Any]:
    """Return the key id and the model id of an operation, for its record."""
    keys = list(intent.needs)
    return {"key_id": keys[0] if len(keys) == 1 else None, "model_id": intent.model_id or None}


def _where(intent: FileIntent) -> dict[str, str]:
    return {"file_id": intent.file_id.hex(), "path": intent.path}
