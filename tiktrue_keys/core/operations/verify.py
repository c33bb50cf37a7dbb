"""The operation `verify`: every row, every audit record, the agenda, and SQLite's own check of the file.

Come here for what doctor and a deep validation read. Each key is read once and forgotten, so that memory does not grow
with the keystore.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys import deadlines
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.session import KeystoreSession


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
