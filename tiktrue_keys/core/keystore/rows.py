"""Sealed records inside one SQLite transaction: reading verifies a record's bucket, writing updates its digest.

Come here for how records are stored and listed. Their callers define what they mean; store.py begins and commits the
transaction.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined, parse_record_json, record_json
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.former import FormerKeys
from tiktrue_keys.core.keystore.integrity import Row, RowSummary, bucket_digest, bucket_of
from tiktrue_keys.core.keystore.schema import (
    BUCKETS,
    BUCKETS_A_PAGE,
    DIGEST_LENGTH,
    MAX_RECORD,
    RecordKind,
    must_have_shape,
)
from tiktrue_keys.core.keystore.tallies import Owner, Tallies
from tiktrue_keys.core.sealing import TAG_LENGTH, Sealer, seal_tag
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, InternalError

__all__ = ["Owner", "RootKeys", "Rows"]

SealedRow = tuple[int, bytes, int, int, bytes | None, bytes]
"""A row as it is stored: bucket, tag, kind, revision, owner, sealed payload."""

_TAG = 16

_SUMMARY = f"tag, kind, revision, owner, CAST(substr(sealed, -{TAG_LENGTH}) AS BLOB)"


class RootKeys:
    """The working keys that are derived from H, and what is kept of the roots before it. They are wiped together."""

    def __init__(self, root: SecretBuffer, keystore_id: bytes, former: tuple[FormerKeys, ...] = ()) -> None:
        self.root = root
        self.keystore_id = keystore_id
        self.former = former
        self.record_context = joined(derivation.METADATA, keystore_id)
        self.tag = derivation.subkey(root.view, derivation.TAG)
        self.integrity = derivation.subkey(root.view, derivation.INTEGRITY)
        with derivation.subkey(root.view, derivation.METADATA) as metadata:
            self.sealer = Sealer(metadata.view)
        self._tag_keys = (*(each.tag for each in former), self.tag)
        self._borders = tuple((each.size, Sealer(each.record.view)) for each in former)

    def tag_of(self, kind: RecordKind, name: str) -> bytes:
        """Return the 16-byte keyed tag of a record.

        A rekey cannot know the names of records: it derives their new tags from the old ones, and so does this.
        """
        first, *later = self._tag_keys
        tag = derivation.keyed_tag(first.view, kind, name)
        for key in later:
            tag = derivation.renewed_tag(key.view, tag)
        return tag

    def context_of(self, tag: bytes, kind: int, revision: int, owner: bytes | None) -> bytes:
        """Return the associated data of a sealed record."""
        # Every part but the last has a fixed length, so plain concatenation is unambiguous.
        place = tag + kind.to_bytes(2, "big") + revision.to_bytes(8, "big")
        return self.record_context + place + (owner or b"")

    def audit_sealer(self, number: int) -> Sealer:
        """Return the sealer that audit record `number` was sealed with: a rekey leaves the records as they are."""
        return next((sealer for size, sealer in self._borders if number < size), self.sealer)

    def wipe(self) -> None:
        """Zero H and the keys that are derived from it, and those of the roots before it."""
        for secret in (self.root, self.integrity, *self._tag_keys, *(each.record for each in self.former)):
            secret.wipe()


class Rows:
    """The records as one transaction sees them. `digests` are the 4,096 verified bucket digests, 32 bytes each.

    `has_agenda` is False for a keystore of schema version 1, whose records belong to no day.
    """

    def __init__(
        self, connection: sqlite3.Connection, keys: RootKeys, digests: bytearray, *, has_agenda: bool = True
    ) -> None:
        self.has_agenda = has_agenda
        self._connection = connection
        self._keys = keys
        self.digests = digests
        self._buckets: dict[int, dict[bytes, Row]] = {}
        self._changed: set[int] = set()
        self._pages: set[int] = set()
        # Without a cycle, which would keep the rows of every transaction until the garbage collector runs.
        self._tallies = Tallies(weakref.proxy(self), keys.integrity.view)

    @property
    def changed(self) -> bool:
        """Return whether a record was written or deleted."""
        return bool(self._changed or self._pages)

    def get(self, kind: RecordKind, name: str) -> dict[str, Any] | None:
        """Return the payload of a record, or None. Its absence is verified just as its content is.

        Raises IntegrityError when the bucket was modified.
        """
        tag = self._keys.tag_of(kind, name)
        summary = self._find(tag)
        return None if summary is None else self._open(summary)

    def revision(self, kind: RecordKind, name: str) -> int:
        """Return how often a record was written; 0 when there is none. Raises IntegrityError as `get` does."""
        summary = self._find(self._keys.tag_of(kind, name))
        return 0 if summary is None else summary.revision

    def owned_by(self, kind: RecordKind, owner: Owner) -> list[dict[str, Any]]:
        """Return the payloads of the records of `kind` that belong to `owner`, verified to be intact and complete.

        Raises IntegrityError when they are not.
        """
        owner_tag = self._keys.tag_of(owner.kind, owner.name)
        rows = self._connection.execute("SELECT tag FROM record WHERE owner = ?", (owner_tag,)).fetchall()
        summaries = [self._member(row[0], owner_tag) for row in rows]
        if not self._tallies.matches(owner_tag, (summary.tag for summary in summaries)):
            raise IntegrityError("the keystore's index of owners is damaged", **schema.RESTORE)
        return [self._open(summary) for summary in summaries if summary.kind == kind]

    def scan(self, kind: RecordKind, damaged: list[IntegrityError] | None = None) -> Iterator[dict[str, Any]]:
        """Yield every record of `kind` and verify every bucket: an end without error proves that all rows are intact.

        With the list `damaged`, a damaged bucket is left out and its error appended there, for a caller that has to go
        on with the intact records. Without it, it raises IntegrityError.
        """
        for bucket, rows in self._in_buckets():
            try:
                payloads = self._scan_bucket(bucket, rows, kind)
            except IntegrityError as error:
                if damaged is None:
                    raise
                damaged.append(error)
            else:
                yield from payloads

    def verified(self) -> Iterator[SealedRow]:
        """Yield every record as it is stored, and verify every bucket as `scan` does, for a copy under other keys."""
        for bucket, rows in self._in_buckets():
            self._verify_bucket(bucket, rows)
            yield from rows

    def _in_buckets(self) -> Iterator[tuple[int, list[SealedRow]]]:
        """Yield the rows of each bucket, not verified yet. Buckets without rows are verified to be empty."""
        rows = self._connection.execute(
            "SELECT bucket, tag, kind, revision, owner, sealed FROM record ORDER BY bucket, tag"
        )
        seen = bytearray(BUCKETS)
        for bucket, group in groupby(rows, key=itemgetter(0)):
            if not isinstance(bucket, int) or not 0 <= bucket < BUCKETS:
                raise IntegrityError("a record lies in a bucket that does not exist", **schema.RESTORE)
            seen[bucket] = 1
            yield bucket, list(group)
        for bucket in range(BUCKETS):
            if not seen[bucket] and bucket not in self._buckets:
                self._must_match(bucket, ())

    def _scan_bucket(self, bucket: int, rows: list[SealedRow], kind: RecordKind) -> list[dict[str, Any]]:
        pairs = zip(self._verify_bucket(bucket, rows), rows, strict=True)
        return [self._unseal(RowSummary(*summary), row[5]) for summary, row in pairs if summary[1] == kind]

    def _verify_bucket(self, bucket: int, rows: list[SealedRow]) -> list[Row]:
        try:
            listed: list[Row] = [(row[1], row[2], row[3], row[4], row[5][-TAG_LENGTH:]) for row in rows]
        except TypeError:
            raise IntegrityError(f"bucket {bucket} of the keystore was changed", **schema.RESTORE) from None
        known = self._buckets.get(bucket)  # its digest is behind where this transaction has written
        if known is None:
            self._must_match(bucket, listed)
        elif listed != self._ordered(bucket):
            raise IntegrityError(f"bucket {bucket} of the keystore was changed", **schema.RESTORE)
        return listed

    def put(self, kind: RecordKind, name: str, payload: dict[str, Any], owner: Owner | None = None) -> None:
        """Write a whole record. It replaces the one of the same name and increments its revision."""
        tag = self._keys.tag_of(kind, name)
        bucket = bucket_of(tag)
        rows = self._bucket(bucket)
        old = self._find(tag)
        owner_tag = self._keys.tag_of(owner.kind, owner.name) if owner else None
        must_have_shape(kind, payload)
        encoded = record_json(payload)
        if len(encoded) > MAX_RECORD:
            raise InternalError(f"a record of {len(encoded)} bytes is too large")
        unsealed = RowSummary(tag, kind, old.revision + 1 if old else 1, owner_tag, b"")
        sealed = self._keys.sealer.seal(encoded, self._context(unsealed))
        self._move(tag, old.owner if old else None, owner_tag, owner)
        rows[tag] = RowSummary(tag, kind, unsealed.revision, owner_tag, seal_tag(sealed))
        self._changed.add(bucket)
        self._connection.execute(
            "INSERT OR REPLACE INTO record (bucket, tag, kind, revision, owner, sealed) VALUES (?, ?, ?, ?, ?, ?)",
            (bucket, tag, int(kind), unsealed.revision, owner_tag, sealed),
        )

    def delete(self, kind: RecordKind, name: str) -> bool:
        """Remove a record. Return False when there was none."""
        tag = self._keys.tag_of(kind, name)
        bucket = bucket_of(tag)
        old = self._find(tag)
        if old is None:
            return False
        del self._bucket(bucket)[tag]
        self._move(tag, old.owner, None, None)
        self._changed.add(bucket)
        self._connection.execute("DELETE FROM record WHERE bucket = ? AND tag = ?", (bucket, tag))
        return True

    def settle_digests(self) -> set[int]:
        """Compute the digests of the buckets that were changed. Return the pages of the table `bucket` to write."""
        self._tallies.settle()
        self._settle_buckets()
        pages, self._pages = self._pages, set()
        return pages

    def release(self) -> None:
        """Forget the rows that were read, so that a transaction over every key needs no more memory than a short one.

        What it reads again is verified by the digests of what it has written. Go along the records as `scan` does, or
        each bucket is read many times.
        """
        self._settle_buckets()
        self._buckets.clear()

    def _settle_buckets(self) -> None:
        for bucket in self._changed:
            digest = bucket_digest(self._keys.integrity.view, bucket, self._ordered(bucket))
            self.digests[bucket * DIGEST_LENGTH : (bucket + 1) * DIGEST_LENGTH] = digest
            self._pages.add(bucket // BUCKETS_A_PAGE)
        self._changed = set()

    def _move(self, tag: bytes, old: bytes | None, new: bytes | None, named: Owner | None) -> None:
        """Let a record belong to `new`, whose name `named` is, and no longer to `old`."""
        if old == new:
            return
        if old is not None:
            self._tallies.remove(old, tag)
        if new is not None and named is not None:
            self._tallies.add(new, tag, named)

    def _member(self, tag: Any, owner_tag: bytes) -> RowSummary:
        if not isinstance(tag, bytes) or len(tag) != _TAG:
            raise IntegrityError("the keystore's index of owners is damaged", **schema.RESTORE)
        summary = self._find(tag)
        if summary is None or summary.owner != owner_tag:
            raise IntegrityError("the keystore's index of owners is damaged", **schema.RESTORE)
        return summary

    def _ordered(self, bucket: int) -> list[Row]:
        return [row for _, row in sorted(self._buckets[bucket].items())]

    def _bucket(self, bucket: int) -> dict[bytes, Row]:
        rows = self._buckets.get(bucket)
        if rows is None:
            cursor = self._connection.execute(f"SELECT {_SUMMARY} FROM record WHERE bucket = ? ORDER BY tag", (bucket,))  # noqa: S608
            listed = cursor.fetchall()
            self._must_match(bucket, listed)
            rows = {row[0]: row for row in listed}
            self._buckets[bucket] = rows
        return rows

    def _find(self, tag: bytes) -> RowSummary | None:
        row = self._bucket(bucket_of(tag)).get(tag)
        return None if row is None else RowSummary(*row)

    def _must_match(self, bucket: int, rows: Iterable[Row]) -> None:
        expected = self.digests[bucket * DIGEST_LENGTH : (bucket + 1) * DIGEST_LENGTH]
        if bucket_digest(self._keys.integrity.view, bucket, rows) != expected:
            raise IntegrityError(f"bucket {bucket} of the keystore was changed", **schema.RESTORE)

    def _open(self, summary: RowSummary) -> dict[str, Any]:
        row = self._connection.execute(
            "SELECT sealed FROM record WHERE bucket = ? AND tag = ?", (bucket_of(summary.tag), summary.tag)
        ).fetchone()
        if row is None or seal_tag(row[0]) != summary.seal_tag:
            raise IntegrityError("a record changed while it was read", **schema.RESTORE)
        return self._unseal(summary, row[0])

    def _unseal(self, summary: RowSummary, sealed: bytes) -> dict[str, Any]:
        # The seal proves that put() wrote these bytes, so they need no further check.
        return parse_record_json(self._keys.sealer.open(sealed, self._context(summary), limit=MAX_RECORD))

    def _context(self, row: RowSummary) -> bytes:
        return self._keys.context_of(row.tag, row.kind, row.revision, row.owner)
