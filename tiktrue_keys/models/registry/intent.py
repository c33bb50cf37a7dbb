"""An act on a file as the keystore records it: intent before, outcome after, whatever happens in between.

Does not handle: a process that dies in between; the next writing command settles that (settle/interrupted.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tiktrue_keys.core.containers.intents import NO_OTHERS, FileIntent, Settlement
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import Termination, TikTrueKeysError
from tiktrue_keys.models.format.header import Header


@dataclass
class FileOutcome:
    """What the act has come to so far. `keys`: the key ids that open the file as it is now; None: there is none.

    `others`: what became of other containers by it.
    """

    operation_id: str
    keys: frozenset[str] | None = None
    others: Settlement = NO_OTHERS
    detail: dict[str, Any] = field(default_factory=dict)

    def made(self, keys: frozenset[str], replaced: Header | None) -> None:
        """A new container is there, which `keys` open, in place of one with another header where it replaced one.

        The other one is gone then, unless the registry has it elsewhere.
        """
        self.keys = keys
        if replaced is not None:
            self.others = Settlement(gone=(replaced.file_id,))


@contextmanager
def file_act(
    manager: KeyManager, act: FileIntent, operation_id: str | None, *, keys: frozenset[str] | None = None
) -> Iterator[FileOutcome]:
    """Records the intent, runs the block, records its outcome: `failed` when it raised, then raises that again.

    `operation_id` None: a fresh one. `keys` open the file even when the block fails.
    """
    outcome = FileOutcome(manager.begin_file_act(act, operation_id=operation_id).operation_id, keys)
    try:
        yield outcome
    except BaseException as error:
        said = {"error": type(error).__name__}
        if isinstance(error, TikTrueKeysError | Termination):
            said = {"error": error.code, "reason": error.message}
        # What went wrong first is what the caller must hear; an intent that stays open is settled by the next command.
        with suppress(TikTrueKeysError):
            _finish(manager, outcome, "failed", said)
        raise
    _finish(manager, outcome, "ok", {})


def _finish(manager: KeyManager, outcome: FileOutcome, how: str, said: dict[str, str]) -> None:
    detail = {**outcome.detail, **said}
    manager.finish_file_act(outcome.operation_id, outcome=how, keys=outcome.keys, detail=detail, others=outcome.others)


@contextmanager
def noted(manager: KeyManager, event: str, operation_id: str | None) -> Iterator[None]:
    """Records a refusal or failure of the block, which comes before any intent, where the log can be written to."""
    with manager.noting(event, operation_id):
        yield
