"""Copies every record and the audit log of a keystore into an empty file, under the keys of a new root secret.

Come here for what a rekey does to the rows. Each bucket is verified as it is read, and rows are written as they come,
so that memory does not grow with the keystore. Audit records keep their bytes: they are the leaves of the tree. The
caller has a transaction open on both files; renewal.py puts the new file in the place of the old one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import parse_record_json, record_json
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.integrity import bucket_digest, bucket_of
from tiktrue_keys.core.keystore.rows import RootKeys, Rows, SealedRow
from tiktrue_keys.core.keystore.schema import BUCKETS, BUCKETS_A_PAGE, DIGEST_LENGTH, MAX_RECORD, RecordKind
from tiktrue_keys.core.keystore.tallies import member_hash, tally_payload
from tiktrue_keys.core.sealing import TAG_LENGTH, packed, unpacked
from tiktrue_keys.errors import IntegrityError

Changes = Mapping[RecordKind, Callable[[dict[str, Any]], dict[str, Any] | None]]
"""For a kind of record, what returns the payload that takes the place of another; None where that stays as it is."""

_INSERT = "INSERT INTO record (bucket, tag, kind, revision, owner, sealed) VALUES (?, ?, ?, ?, ?, ?)"
_COPIED = (("audit", "number, sealed"), ("audit_hash", "level, position, hash"))


class Transfer:
    """One transfer of `rows`, which are in `source` under `old`, to the empty tables of `target`, under `new`.

    Tallies are not copied but counted again: they are named by the tags of their owners, which change.
    """

    def __init__(
        self,
        source: sqlite3.Connection,
        rows: Rows,
        old: RootKeys,
        target: sqlite3.Connection,
        new: RootKeys,
        changes: Changes,
    ) -> None:
        self._source, self._rows, self._old = source, rows, old
        self._target, self._new = target, new
        self._changes = changes
        self._tallies = 0

    def run(self) -> bytearray:
        """Copy everything, and return the 4,096 digests of the new records, 32 bytes each.

        Raises IntegrityError when a record of the old file was modified or is missing.
        """
        self._target.executemany(_INSERT, self._resealed())
        self._target.executemany(_INSERT, self._counted())
        for table, columns in _COPIED:
            rows = self._source.execute(f"SELECT {columns} FROM {table}")  # noqa: S608
            places = ", ".join("?" for _ in columns.split(","))
            self._target.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)  # noqa: S608
        return self._write_digests()

    def _resealed(self) -> Iterator[SealedRow]:
        """Yield every record but the tallies as it is stored in the new file."""
        for _, tag, kind, revision, owner, sealed in self._rows.verified():
            if kind == RecordKind.TALLY:
                self._tallies += 1
                continue
            data = self._old.sealer.open_packed(
                sealed, self._old.context_of(tag, kind, revision, owner), limit=MAX_RECORD
            )
            new_owner = None if owner is None else self._renewed(owner)
            yield self._row(self._renewed(tag), kind, revision, new_owner, self._changed(kind, data))

    def _changed(self, kind: int, data: bytes) -> bytes:
        change = self._changes.get(RecordKind(kind))
        payload = None if change is None else change(parse_record_json(unpacked(data, MAX_RECORD)))
        return data if payload is None else packed(record_json(payload))

    def _counted(self) -> Iterator[SealedRow]:
        """Yield the tally of every owner. The index that lists their records is verified by the old tallies."""
        members = self._source.execute("SELECT owner, tag FROM record WHERE owner IS NOT NULL ORDER BY owner")
        owners = 0
        for owner, group in groupby(members, key=itemgetter(0)):
            owners += 1
            count = old_fold = new_fold = 0
            for _, tag in group:
                count += 1
                old_fold ^= member_hash(self._old.integrity.view, tag)
                new_fold ^= member_hash(self._new.integrity.view, self._renewed(tag))
            known = self._old_tally(owner)
            if known is None or (known | tally_payload(count, old_fold)) != known:
                raise IntegrityError("the keystore's index of owners is damaged", **schema.RESTORE)
            payload = packed(record_json(known | tally_payload(count, new_fold)))
            tag = self._new.tag_of(RecordKind.TALLY, self._renewed(owner).hex())
            yield self._row(tag, RecordKind.TALLY, 1, None, payload)
        if owners != self._tallies:
            raise IntegrityError("the keystore's index of owners is damaged", **schema.RESTORE)

    def _old_tally(self, owner: bytes) -> dict[str, Any] | None:
        """Return the tally of an owner in the old file, all of whose buckets are verified."""
        tag = self._old.tag_of(RecordKind.TALLY, owner.hex())
        row = self._source.execute(
            "SELECT revision, sealed FROM record WHERE bucket = ? AND tag = ?", (bucket_of(tag), tag)
        ).fetchone()
        if row is None:
            return None
        context = self._old.context_of(tag, RecordKind.TALLY, row[0], None)
        return parse_record_json(self._old.sealer.open(row[1], context, limit=MAX_RECORD))

    def _renewed(self, tag: bytes) -> bytes:
        return derivation.renewed_tag(self._new.tag.view, tag)

    def _row(self, tag: bytes, kind: int, revision: int, owner: bytes | None, data: bytes) -> SealedRow:
        sealed = self._new.sealer.seal_packed(data, self._new.context_of(tag, kind, revision, owner))
        return bucket_of(tag), tag, kind, revision, owner, sealed

    def _write_digests(self) -> bytearray:
        digests = bytearray(BUCKETS * DIGEST_LENGTH)
        rows = self._target.execute(
            f"SELECT bucket, tag, kind, revision, owner, CAST(substr(sealed, -{TAG_LENGTH}) AS BLOB)"  # noqa: S608
            " FROM record ORDER BY bucket, tag"
        )
        for bucket, group in groupby(rows, key=itemgetter(0)):
            digest = bucket_digest(self._new.integrity.view, bucket, (row[1:] for row in group))
            digests[bucket * DIGEST_LENGTH : (bucket + 1) * DIGEST_LENGTH] = digest
        width = BUCKETS_A_PAGE * DIGEST_LENGTH
        pages = ((bytes(digests[at : at + width]), at // width) for at in range(0, len(digests), width))
        self._target.executemany("UPDATE bucket SET digests = ? WHERE page = ?", pages)
        return digests
