"""The audit log inside a keystore transaction: appends sealed records, stores the tree's hashes, reads and verifies.

Come here for reading or appending records. Each sealed row is a leaf of an RFC 6962 tree whose complete subtrees are
stored, so that appending, proving and computing an earlier head cost O(log n). store.py commits; core/audit filters and
exports.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit import merkle
from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.schema import MAX_AUDIT_RECORD
from tiktrue_keys.errors import IntegrityError, NotFoundError

if TYPE_CHECKING:
    from tiktrue_keys.core.keystore.document import Document
    from tiktrue_keys.core.keystore.rows import RootKeys


def origin_of(keystore_id: bytes, epoch: int, *, rehearsal: bool = False) -> str:
    """Return the checkpoint's origin line, which names keystore and epoch (C2SP tlog-checkpoint).

    A rehearsal's log is another one: the keystore may begin the same epoch with other records.
    """
    return f"tiktrue-keys/{keystore_id.hex()}/{epoch}{'/rehearsal' * rehearsal}"


class AuditLog:
    """The log as one transaction sees it: `size` records so far, in `epoch`."""

    def __init__(
        self, connection: sqlite3.Connection, keys: RootKeys, *, size: int, epoch: int, newest: Instant | None = None
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._epoch = epoch
        self._newest = newest
        self._new_hashes: dict[tuple[int, int], bytes] = {}
        self.size = size
        self.appended = 0

    def append(self, *, time: Instant, actor: Actor, event: str, outcome: str, operation_id: str, **rest: Any) -> None:
        """Seal one record at the end.

        `rest` are the members key_id, model_id, before, after and detail of AuditRecord.
        """
        record = AuditRecord(
            time=time,
            actor=actor,
            event=event,
            outcome=outcome,
            operation_id=operation_id,
            epoch=self._epoch,
            number=self.size,
            **rest,
        )
        sealed = self._keys.sealer.seal(record.encode(), self._context(self.size))
        self._connection.execute("INSERT INTO audit (number, sealed) VALUES (?, ?)", (self.size, sealed))
        hashes = merkle.appended(self.size, sealed, self._hash)
        self._connection.executemany("INSERT INTO audit_hash (level, position, hash) VALUES (?, ?, ?)", hashes)
        self._new_hashes.update({(level, position): digest for level, position, digest in hashes})
        self.size += 1
        self.appended += 1

    def head(self) -> bytes:
        """Return the tree head over all records, 32 bytes."""
        return self.head_at(self.size)

    def head_at(self, size: int) -> bytes:
        """Return the tree head over the first `size` records, 32 bytes."""
        return merkle.root_hash(size, self._hash)

    def checkpoint(self, document: Document, sign: Callable[[bytes], bytes]) -> str:
        """Return the signed note over the present head."""
        from tiktrue_keys.core.audit.checkpoint import Checkpoint, signed_note

        note = Checkpoint(
            origin_of(document.keystore_id, document.epoch, rehearsal=document.rehearsal), self.size, self.head()
        )
        return signed_note(note, public_key=document.audit_key, sign=sign)

    def newest_time(self) -> Instant:
        """Return the time of the last record. Records never go back in time."""
        if self._newest is None or self.appended:
            return self.get(self.size - 1).time if self.size else Instant(0)
        return self._newest

    def get(self, number: int) -> AuditRecord:
        """Return record `number`, counted from 0.

        Raises NotFoundError past the end, IntegrityError when it was modified.
        """
        leaf = self.leaf(number)
        # The seal binds the number; the hash also excludes a record with that number from before a restore.
        if self._hash(0, number) != merkle.leaf_hash(leaf):
            raise IntegrityError(f"audit record {number} is not the one that the tree holds")
        return self._decoded(number, leaf)

    def leaf(self, number: int) -> bytes:
        """Return the sealed bytes of record `number`, the leaf of the tree.

        Raises NotFoundError past the end, IntegrityError when the row is missing.
        """
        row = None
        if 0 <= number < self.size:
            row = self._connection.execute("SELECT sealed FROM audit WHERE number = ?", (number,)).fetchone()
            if row is None or not isinstance(row[0], bytes):
                raise IntegrityError(f"audit record {number} is gone")
        if row is None:
            raise NotFoundError(f"there is no audit record {number}", f"the log has {self.size}, from 0")
        return bytes(row[0])

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield records `start` to `end` (exclusive) as (number, sealed bytes), read in one pass.

        Raises IntegrityError that names the first missing record.
        """
        rows = self._connection.execute(
            "SELECT number, sealed FROM audit WHERE number >= ? AND number < ? ORDER BY number", (start, end)
        )
        for number in range(start, end):
            row = rows.fetchone()
            if row is None or row[0] != number or not isinstance(row[1], bytes):
                raise IntegrityError(f"audit record {number} is gone")
            yield number, row[1]

    def records(self, start: int, end: int) -> list[AuditRecord]:
        """Return records `start` to `end` (exclusive), each compared with its hash, in two passes over the tables.

        Raises IntegrityError that names the first record that is missing or was modified.
        """
        hashes = _StoredHashes(self._connection, 0, start)
        verified = []
        for number, leaf in self.leaves(start, end):
            if hashes.at(number) != merkle.leaf_hash(leaf):
                raise IntegrityError(f"audit record {number} is not the one that the tree holds")
            verified.append(self._decoded(number, leaf))
        return verified

    def verify(self) -> None:
        """Rebuild the tree from every record and compare every hash.

        Raises IntegrityError that names the first bad record. Holds one hash for each level of the tree, however long
        the log is.
        """
        peaks: dict[int, bytes] = {}
        stored = [_StoredHashes(self._connection, level, 0) for level in range(self.size.bit_length())]
        latest = Instant(0)
        for number, leaf in self.leaves(0, self.size):
            record = self._decoded(number, leaf)
            if record.time < latest:
                raise IntegrityError(f"audit record {number} is earlier than the one before it")
            latest = record.time
            for level, position, digest in merkle.appended(number, leaf, lambda level, _: peaks.pop(level)):
                if stored[level].at(position) != digest:
                    raise IntegrityError(f"audit record {number} is not the one that the tree holds")
            peaks[level] = digest
        self._must_hold_nothing_more()

    def inclusion_proof(self, number: int) -> list[bytes]:
        """Return the hashes that prove record `number` under the present head. Raises NotFoundError past the end."""
        if not 0 <= number < self.size:
            raise NotFoundError(f"there is no audit record {number}", f"the log has {self.size}, from 0")
        return merkle.inclusion_proof(number, self.size, self._hash)

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """Return the hashes that prove that the head over `new_size` records extends the one over `old_size`.

        `new_size` None means the present head.
        """
        return merkle.consistency_proof(old_size, self.size if new_size is None else new_size, self._hash)

    def first_of_epoch(self, epoch: int) -> int:
        """Return the number of the first record of `epoch` or of a later one. Epochs never decrease along the log."""
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            if self.get(middle).epoch < epoch:
                low = middle + 1
            else:
                high = middle
        return low

    def _must_hold_nothing_more(self) -> None:
        (count,) = self._connection.execute("SELECT count(*) FROM audit").fetchone()
        if count != self.size:
            raise IntegrityError(f"the audit log holds {count} records where its head says {self.size}")
        (count,) = self._connection.execute("SELECT count(*) FROM audit_hash").fetchone()
        if count != sum(self.size >> level for level in range(self.size.bit_length())):
            raise IntegrityError("the audit tree holds hashes of records that are not there")

    def _decoded(self, number: int, leaf: bytes) -> AuditRecord:
        what = f"audit record {number}"
        record = AuditRecord.decode(
            self._keys.audit_sealer(number).open(leaf, self._context(number), limit=MAX_AUDIT_RECORD, what=what)
        )
        if record.number != number:
            raise IntegrityError(f"{what} belongs at {record.number}")
        if record.epoch > self._epoch:
            raise IntegrityError(f"{what} belongs to epoch {record.epoch}")
        return record

    def _hash(self, level: int, position: int) -> bytes:
        known = self._new_hashes.get((level, position))
        if known is not None:
            return known
        row = self._connection.execute(
            "SELECT hash FROM audit_hash WHERE level = ? AND position = ?", (level, position)
        ).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise IntegrityError(f"the audit tree lacks a hash (level {level}, position {position})")
        return row[0]

    def _context(self, number: int) -> bytes:
        return joined(derivation.AUDIT, self._keys.keystore_id, number.to_bytes(8, "big"))


class _StoredHashes:
    """The stored hashes of one level, read in the order of their positions."""

    def __init__(self, connection: sqlite3.Connection, level: int, start: int) -> None:
        self._level = level
        self._rows = connection.execute(
            "SELECT position, hash FROM audit_hash WHERE level = ? AND position >= ? ORDER BY position", (level, start)
        )

    def at(self, position: int) -> bytes:
        """Return the hash at `position`, which has to follow the last one read.

        Raises IntegrityError when it is missing.
        """
        row = self._rows.fetchone()
        if row is None or row[0] != position or not isinstance(row[1], bytes):
            raise IntegrityError(f"the audit tree lacks a hash (level {self._level}, position {position})")
        return row[1]
