"""A rehearsal: a copy of a keystore, restored for practice, which changes nothing outside of its folder.

Come here for what a rehearsal may do. Its header says that it is one, under the MAC of H. It has the identity and the
keys of the keystore that it was made from, so it must not act for it: it lists, verifies and decrypts, and every other
change is refused where it would be recorded. It has no high-water mark, and opens only in the folder that it was
restored into: in another one it could stand in for the keystore, with keys that were revoked since.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.errors import RefusedError

REHEARSED = frozenset(
    {
        # what the restore itself records, and what the first change brings with it
        "restore",
        "carry-over",
        "clock-gap",
        "schema-upgrade",
        "reseal",
        "accept-clock",
        # uses of keys that release plaintext here, and the approval that they may need
        "decrypt",
        "decrypt-block",
        "decrypt-folder",
        "exec",
        "open",
        "open-model",
        "approval-plan",
        "approval-add",
        "approval-use",
        "escrow-verify",
        # where containers were found; rows of the copy alone
        "register",
        "claim",
        "move",
    }
)
"""The events that a rehearsal records as done."""


def must_be_rehearsed(document: Document, event: str) -> None:
    """Raise RefusedError for a change that a rehearsal does not make."""
    if document.rehearsal and event not in REHEARSED:
        raise refused(event)


def refused(what: str) -> RefusedError:
    """Return the error about something that a rehearsal does not do."""
    words = f"this keystore is a rehearsal, which lists, verifies and decrypts only: {what} is refused"
    return RefusedError(words, "do it with the keystore itself", remedy="leave-rehearsal")


def must_be_at_home(document: Document, folder: Path) -> None:
    """Raise RefusedError for a rehearsal in another folder than the one that it was restored into."""
    if document.rehearsal and os.path.realpath(folder) != document.marks_path:
        raise RefusedError(
            f"this is a rehearsal, which opens only in {document.marks_path}",
            "open it there, or rehearse the backup again",
            remedy="rehearse-again",
            about={"folder": document.marks_path},
        )
