"""Records an operation on a file in the keystore: the intent before, the outcome after, even when it fails.

Does not handle: a process that dies in between; the next writing command settles that (settle/interrupted.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.settlement import NO_OTHERS, Settlement
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.subject import NOTHING, Subject
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError, Termination, TikTrueKeysError
from tiktrue_keys.models.format.header import Header

R = TypeVar("R")


@dataclass(frozen=True)
class FinishedOperation:
    """A file operation that was done before: the id (16 bytes) of its container or folder, and its path.

    The path is empty for a pipe.
    """

    operation_id: OperationId
    file_id: bytes
    path: str

    def must_be(self, file_id: bytes, what: str = "container") -> None:
        """Raise RefusedError unless `file_id` is that of the operation's output: another one may have the path now."""
        if file_id != self.file_id:
            where = shown(self.path)
            raise RefusedError(f"operation {self.operation_id} was done already; {where} now holds another {what}")


def repeated(manager: KeyManager, request: OperationRequest, again: Callable[[FinishedOperation], R]) -> R | None:
    """Return the result of an earlier operation, as `again` reads it; None when the request is new.

    Raises RefusedError when its operation id was used for another request. Refusals and failures are recorded. Without
    this call file_operation refuses a repetition.
    """
    if not request.chosen or not manager.exists():
        return None
    with manager.noting(request.operation, request.operation_id, request.subject):
        first = manager.finished_file_operation(request)
        return None if first is None else again(FinishedOperation(request.operation_id, *first))


@dataclass
class FileOutcome:
    """The outcome of an operation so far. `keys`: ids of the keys that open the file now, None when there is no file.

    `others`: the effects on other containers.
    """

    operation_id: str
    keys: frozenset[str] | None = None
    others: Settlement = NO_OTHERS
    detail: dict[str, Any] = field(default_factory=dict)

    def made(self, keys: frozenset[str], replaced: Header | None) -> None:
        """Note that a new container exists, which `keys` open.

        The container that it replaced counts as gone, unless the registry has it elsewhere."""
        self.keys = keys
        if replaced is not None:
            self.others = Settlement(gone=(replaced.file_id,))


@contextmanager
def file_operation(
    manager: KeyManager,
    intent: FileIntent,
    request: OperationRequest | None,
    *,
    keys: frozenset[str] | None = None,
    proposal: Proposal | None = None,
) -> Iterator[FileOutcome]:
    """Record the intent, run the block and record its outcome; an error is recorded as `failed` and raised again.

    `request` None: a part of another operation, under an id of its own. `keys` open the file even when the block fails.
    `proposal` is what the approval policy is asked about, before the block runs.
    """
    outcome = FileOutcome(manager.begin_file_operation(intent, request, proposal).operation_id, keys)
    try:
        yield outcome
    except BaseException as error:
        # The caller gets the first error. An intent that stays open is settled by the next command.
        with suppress(TikTrueKeysError):
            _finish(manager, outcome, "failed", failure_detail(error))
        raise
    _finish(manager, outcome, "ok", {})


def failure_detail(error: BaseException) -> dict[str, str]:
    """Return what the audit log has of an error that ended an operation."""
    if isinstance(error, TikTrueKeysError | Termination):
        return {"error": error.code, "reason": error.message}
    return {"error": type(error).__name__}


def _finish(manager: KeyManager, outcome: FileOutcome, how: str, said: dict[str, str]) -> None:
    detail = {**outcome.detail, **said}
    manager.finish_file_operation(
        outcome.operation_id, outcome=how, keys=outcome.keys, detail=detail, others=outcome.others
    )


@contextmanager
def noted(manager: KeyManager, event: str, operation_id: str | None, subject: Subject = NOTHING) -> Iterator[None]:
    """Record a refusal or failure of the block, which runs before any intent, if the log can be written."""
    with manager.noting(event, operation_id, subject):
        yield
