"""Verifies the whole state of a keystore at the beginning of each transaction, and remembers what was verified.

Come here for "the keystore was changed by something else" and "older than this machine remembers". store.py begins and
commits transactions.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.document import Document, authenticated, read_document
from tiktrue_keys.core.keystore.high_water import Mark
from tiktrue_keys.core.keystore.integrity import state_root
from tiktrue_keys.core.keystore.marks import Marks
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.transaction import KeystoreState, Snapshot
from tiktrue_keys.errors import Advice, IntegrityError

_ROLLED_BACK: Advice = {
    "hint": "restore the newest backup as a new epoch, or put the newer keystore back",
    "remedy": "rolled-back",
    "about": {},
}


@dataclass(frozen=True)
class Trusted:
    """The result of the last verification in this process; valid while data_version and the root stay the same."""

    data_version: int
    document: Document
    state: KeystoreState
    digests: bytes
    newest: Instant


class VerifiedConnection:
    """One connection to the keystore, and the last state that was verified through it.

    `ignores_mark` passes over every mark, for a restore; `may_lack_mark` over the lack of any, to replace it.
    """

    def __init__(self, connection: sqlite3.Connection, keys: RootKeys, marks: Marks) -> None:
        self.sqlite = connection
        self.trusted: Trusted | None = None
        self.ignores_mark = False
        self.may_lack_mark = False
        self._marks = marks
        self._keys = keys

    def view(self) -> Snapshot:
        """Return the verified state of the open transaction."""
        row = self.sqlite.execute("SELECT audit_size, audit_head, checkpoint, root FROM state WHERE id = 1").fetchone()
        (version,) = self.sqlite.execute("PRAGMA data_version").fetchone()
        trusted = self.trusted
        if trusted is None or trusted.data_version != version or row is None or row[3] != trusted.state.root:
            trusted = self._verified(row, version)
            self.trusted = trusted
        audit = AuditLog(
            self.sqlite,
            self._keys,
            size=trusted.state.audit_size,
            epoch=trusted.document.epoch,
            newest=trusted.newest,
        )
        has_agenda = trusted.document.version > schema.FIRST_VERSION
        rows = Rows(self.sqlite, self._keys, bytearray(trusted.digests), has_agenda=has_agenda)
        return Snapshot(trusted.document, trusted.state, rows, audit, self._heartbeat(trusted.document))

    def _heartbeat(self, document: Document) -> Instant | None:
        if self.ignores_mark:
            return None
        try:
            return self._marks.heartbeat(document)
        except IntegrityError:
            if self.may_lack_mark:
                return None
            raise

    def _verified(self, row: tuple[int, bytes, str, bytes] | None, version: int) -> Trusted:
        if row is None or [type(part) for part in row] != [int, bytes, str, bytes]:
            raise IntegrityError("the keystore's state is damaged", **_ROLLED_BACK)
        if not 0 <= row[0] < 2**53:
            raise IntegrityError("the keystore's state is damaged", **_ROLLED_BACK)
        state = KeystoreState(*row)
        encoded = read_document(self.sqlite)
        document = authenticated(encoded, self._keys.root.view)
        pages = self.sqlite.execute("SELECT digests FROM bucket ORDER BY page").fetchall()
        digests = b"".join(page[0] for page in pages if isinstance(page[0], bytes))
        if (
            len(digests) != schema.BUCKETS * schema.DIGEST_LENGTH
            or root_of(self._keys, state, document, encoded[0], digests) != state.root
        ):
            raise IntegrityError("the keystore was changed by something else", **_ROLLED_BACK)
        if document.version != schema.version_of(self.sqlite):
            raise IntegrityError("the keystore's header is of another schema version than its file", **_ROLLED_BACK)
        audit = AuditLog(self.sqlite, self._keys, size=state.audit_size, epoch=document.epoch)
        if audit.head() != state.audit_head:
            raise IntegrityError("the keystore's audit tree was changed", **_ROLLED_BACK)
        if not (self.ignores_mark or document.rehearsal):
            self._must_reach_marks(document, state)
        return Trusted(version, document, state, digests, audit.newest_time())

    def _must_reach_marks(self, document: Document, state: KeystoreState) -> None:
        try:
            marks = self._marks.read(document)
        except IntegrityError:
            if self.may_lack_mark:
                return
            raise
        for mark in sorted(marks, reverse=True):
            self._must_reach(mark, document, state)

    def _must_reach(self, mark: Mark, document: Document, state: KeystoreState) -> None:
        if (document.epoch, state.audit_size) < (mark.epoch, mark.size):
            position = f"{state.audit_size} audit records of {mark.size}"
            if document.epoch != mark.epoch:
                position = f"epoch {document.epoch}, and there was epoch {mark.epoch}"
            raise IntegrityError(f"the keystore is older than this machine remembers: {position}", **_ROLLED_BACK)
        if document.epoch == mark.epoch:
            audit = AuditLog(self.sqlite, self._keys, size=state.audit_size, epoch=document.epoch)
            if audit.head_at(mark.size) != mark.head:
                raise IntegrityError("the keystore's audit log is not the one this machine remembers", **_ROLLED_BACK)


def root_of(keys: RootKeys, state: KeystoreState, document: Document, encoded: bytes, digests: bytes) -> bytes:
    """Return the root over a state, 32 bytes."""
    return state_root(
        keys.integrity.view,
        keystore_id=document.keystore_id,
        epoch=document.epoch,
        document=encoded,
        audit_size=state.audit_size,
        audit_head=state.audit_head,
        checkpoint=state.checkpoint,
        digests=digests,
    )
