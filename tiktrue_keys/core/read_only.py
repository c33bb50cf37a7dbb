"""A keystore that cannot be written to, on a read-only mount: its keys may be used, and the system's log is told first.

Does not handle: whoever changes keys (every act on keys fails there), and the registry, which stays as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.containers.intents import NO_OTHERS, FileIntent, Settlement
from tiktrue_keys.core.containers.owner_process import this_process
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.replay import chosen_operation_id
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError


class SystemLogManager(KeyManager):
    """The same keystore as another manager's, with what releases plaintext recorded in syslog or journald.

    A record that the log does not take is UnavailableError, and then nothing is released. An operation id is in the
    record, and is not remembered: repeating it does the act again.
    """

    def __init__(self, manager: KeyManager) -> None:
        super().__init__(session=manager.session)
        self._begun: dict[str, FileIntent] = {}

    def record_use(
        self, event: str, *, key: ManagedKey, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """As KeyManager's."""
        operation, _ = chosen_operation_id(operation_id)
        self._record(event, operation, key_id=key.key_id, model_id=key.model_id, detail=dict(detail))

    def begin_file_act(self, act: FileIntent, *, operation_id: str | None = None) -> FileIntent:
        """Record the intent. Nobody settles it when this process dies."""
        operation, chosen = chosen_operation_id(operation_id)
        begun = replace(act, operation_id=operation, chosen=chosen, process=this_process(), at=self.now())
        self._record("intent", operation, **_of(act), detail={"act": act.act, **_where(act)})
        self._begun[operation] = begun
        return begun

    def finish_file_act(
        self,
        operation_id: str,
        *,
        outcome: str,
        keys: frozenset[str] | None,
        detail: Mapping[str, Any] | None = None,
        others: Settlement = NO_OTHERS,
    ) -> None:
        """Record how it ended."""
        act = self._begun.pop(operation_id, None)
        if act is None:
            raise IntegrityError(f"operation {operation_id} was not begun here")
        self._record(act.act, operation_id, outcome=outcome, **_of(act), detail={**_where(act), **(detail or {})})

    def register(self, record: ContainerRecord) -> None:
        """Nothing: the registry cannot be written to."""

    @contextlib.contextmanager
    def noting(self, event: str, operation_id: str | None = None) -> Iterator[None]:
        """Around an act on files: what it refuses or fails in goes to the system's log as well."""
        try:
            with super().noting(event, operation_id):
                yield
        except Exception as error:
            self.session.recorder.report(self.session.actor, error)
            raise

    def _record(self, event: str, operation_id: str, *, outcome: str = "ok", **said: Any) -> None:
        with self.session.read() as (view, now):
            epoch, number = view.document.epoch, view.audit.size
        actor = self.session.actor
        entry = AuditRecord(now, actor, event, outcome, operation_id, epoch=epoch, number=number, **said)
        self.session.recorder.record(entry)


def _of(act: FileIntent) -> dict[str, Any]:
    """The key and the model of an act, for its record."""
    keys = list(act.needs)
    return {"key_id": keys[0] if len(keys) == 1 else None, "model_id": act.model_id or None}


def _where(act: FileIntent) -> dict[str, str]:
    return {"file_id": act.file_id.hex(), "path": act.path}
