"""The operation `verify`: every row, every audit record, the agenda, and SQLite's own check of the file.

extended_checkpoint compares the log with a checkpoint that was kept elsewhere.

Come here for what doctor and a deep validation read. Each key is read once and forgotten, so that memory does not grow
with the keystore.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.audit.checkpoint import Checkpoint
from tiktrue_keys.core.audit.merkle import verify_consistency
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys import deadlines
from tiktrue_keys.core.keystore.retired import opened_checkpoint
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError


@dataclass(frozen=True)
class Verified:
    """The number of keys and audit records, all intact."""

    keys: int
    records: int


def verify(session: KeystoreSession) -> Verified:
    """Verify the whole keystore. Raises IntegrityError for the first part that is not intact."""
    with session.read() as (view, now):
        session.keystore.check_file()
        return verify_view(view, now)


def verify_view(view: Snapshot, now: Instant) -> Verified:
    """Verify everything that a snapshot holds."""
    view.audit.verify()
    return Verified(deadlines.must_agree(view.rows, now), view.audit.size)


def extended_checkpoint(view: Snapshot, note: bytes) -> Checkpoint:
    """Return the checkpoint of a signed note of this epoch, or of one that a rekey ended, which the log extends.

    Raises IntegrityError when the note is not this log's, or the log does not extend it.
    """
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError:
        raise IntegrityError("the checkpoint is not text") from None
    log, older = view.audit, opened_checkpoint(view, text)
    if older.size > log.size:
        raise IntegrityError(
            f"the log has {log.size} records, but the checkpoint covers {older.size}",
            "an older copy of the keystore was put back: restore the newest backup",
            remedy="rolled-back",
        )
    verify_consistency(older.size, log.size, older.root, log.head(), log.consistency_proof(older.size))
    return older
