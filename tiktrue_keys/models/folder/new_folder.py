"""Makes a new folder, for every operation: records the intent, builds it, names it, settles the registry, cleans up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.settlement import NO_OTHERS, Settlement
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.folder.swap import FolderPlace, built_folder, remove_aside
from tiktrue_keys.models.registry.intent import FileOutcome, file_operation
from tiktrue_keys.models.storage.location import Place


def folder_intent(
    operation: str, folder_id: bytes, destination: Place, temporary: Path | None = None, *, model_id: str, name: str
) -> FileIntent:
    """Return the intent to make a folder at `destination`, built at `temporary`; `folder_id` is 16 bytes."""
    return FileIntent(
        operation,
        folder_id,
        str(destination),
        frozenset(),
        frozenset(),
        model_id=model_id,
        name=name,
        temporary=None if temporary is None else str(temporary),
        replaces=temporary is not None and os.path.lexists(str(destination)),
    )


@contextmanager
def new_folder(
    manager: KeyManager,
    intent: FileIntent,
    place: FolderPlace,
    request: OperationRequest | None,
    *,
    proposal: Proposal | None = None,
    settle: Callable[[], Settlement] = lambda: NO_OTHERS,
    built: Callable[[FolderPlace], AbstractContextManager[object]] = built_folder,
) -> Iterator[FileOutcome]:
    """Record the intent; the block fills the temporary folder and swaps it in; record the outcome.

    `settle` returns the effects on containers, after the block or its failure. `built` makes the temporary folder.
    """
    with file_operation(manager, intent, request, proposal=proposal) as outcome:
        try:
            with built(place):
                yield outcome
        finally:
            outcome.others = settle()
        remove_aside(place)
