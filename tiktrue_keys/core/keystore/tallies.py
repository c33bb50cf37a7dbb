"""Tallies of the records that belong to an owner, and the calendar of the owners that are days.

SQLite's index of owners is not authenticated. A sealed tally for each owner (how many records it has, and a keyed hash
over them) shows a record that the index leaves out. A transaction that writes thousands of records of one owner seals
the owner's tally once, at its end. agenda.py reads the calendar.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tiktrue_keys.core import derivation
from tiktrue_keys.core.keystore.schema import RecordKind

FOLD_LENGTH = 16
DAYS_A_CHUNK = 512
CHUNKS = "chunks"
_MEMBER = derivation.INTEGRITY + b" member\x00"


@dataclass(frozen=True)
class Owner:
    """The record that another one belongs to, so that it can be listed without reading every record.

    `at`: an instant that the calendar keeps the earliest of; only for days of the agenda.
    """

    kind: RecordKind
    name: str
    at: int = field(default=0, compare=False)


def member_hash(key: memoryview, tag: bytes) -> int:
    """Return what the record with this tag adds to the tally of its owner. `key` is the integrity key of H."""
    return int.from_bytes(hmac.digest(key, _MEMBER + tag, "sha256")[:FOLD_LENGTH], "big")


def tally_payload(count: int, fold: int) -> dict[str, Any]:
    """Return the tally of an owner with `count` records. That of a day of the agenda has more members."""
    return {"count": count, "fold": fold.to_bytes(FOLD_LENGTH, "big").hex()}


def chunk_name(series: str, chunk: int) -> str:
    """Return the name of a calendar record, which counts the keys of 512 days of a series."""
    return f"calendar {series} {chunk}"


class SealedRecords(Protocol):
    """What tallies need of the transaction's records."""

    def get(self, kind: RecordKind, name: str) -> dict[str, Any] | None:
        """Return the payload of a record, or None."""

    def put(self, kind: RecordKind, name: str, payload: dict[str, Any]) -> None:
        """Write a record."""

    def delete(self, kind: RecordKind, name: str) -> bool:
        """Remove a record."""


@dataclass(slots=True)
class _Tally:
    """`day` is the name of a day of the agenda and `first` its earliest instant; empty and 0 for other owners."""

    count: int
    fold: int
    day: str = ""
    first: int = 0


class Tallies:
    """The tallies that one transaction has read or changed, by the 16-byte tag of their owner."""

    def __init__(self, records: SealedRecords, key: memoryview) -> None:
        self._records = records
        self._key = key
        self._known: dict[bytes, _Tally] = {}
        self._changed: set[bytes] = set()

    def matches(self, owner: bytes, members: Iterable[bytes]) -> bool:
        """Return whether these tags are exactly those of the owner's records."""
        count = fold = 0
        for tag in members:
            count, fold = count + 1, fold ^ self._hash(tag)
        tally = self._tally(owner)
        return (tally.count, tally.fold) == (count, fold)

    def add(self, owner: bytes, tag: bytes, named: Owner) -> None:
        """Count one more record of `owner`, whose name `named` is."""
        tally = self._change(owner, tag, 1)
        if named.kind is RecordKind.AGENDA:
            tally.first = named.at if tally.count == 1 else min(tally.first, named.at)
            tally.day = named.name

    def remove(self, owner: bytes, tag: bytes) -> None:
        """Count one record less."""
        self._change(owner, tag, -1)

    def settle(self) -> None:
        """Write what has changed. Called once, before the digests are computed."""
        calendar: dict[str, tuple[int, int]] = {}
        for owner in sorted(self._changed):
            tally = self._known[owner]
            if tally.day:
                calendar[tally.day] = tally.count, tally.first
            if tally.count == 0:
                self._records.delete(RecordKind.TALLY, owner.hex())
                continue
            payload = tally_payload(tally.count, tally.fold)
            if tally.day:
                payload |= {"day": tally.day, "first": tally.first}
            self._records.put(RecordKind.TALLY, owner.hex(), payload)
        self._changed = set()
        self._settle_calendar(calendar)

    def _change(self, owner: bytes, tag: bytes, step: int) -> _Tally:
        tally = self._tally(owner)
        tally.count += step
        tally.fold ^= self._hash(tag)
        self._changed.add(owner)
        return tally

    def _tally(self, owner: bytes) -> _Tally:
        tally = self._known.get(owner)
        if tally is None:
            payload = self._records.get(RecordKind.TALLY, owner.hex())
            tally = _Tally(0, 0)
            if payload is not None:
                tally = _Tally(
                    payload["count"], int(payload["fold"], 16), payload.get("day", ""), payload.get("first", 0)
                )
            self._known[owner] = tally
        return tally

    def _hash(self, tag: bytes) -> int:
        return member_hash(self._key, tag)

    def _settle_calendar(self, counts: dict[str, tuple[int, int]]) -> None:
        """Write the counts of the days that have changed, and the index of the records that hold them."""
        chunks: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
        for name, entry in counts.items():
            series, day = name.split(" ")
            chunks.setdefault((series, int(day) // DAYS_A_CHUNK), {})[day] = entry
        if not chunks:
            return
        stored = self._records.get(RecordKind.AGENDA, CHUNKS) or {"series": {}}
        index = dict(stored["series"])
        for (series, chunk), changed in chunks.items():
            name = chunk_name(series, chunk)
            known = self._records.get(RecordKind.AGENDA, name) or {"days": {}}
            days = {day: [count, first] for day, (count, first) in (known["days"] | changed).items() if count}
            listed = set(index.get(series, ()))
            if days:
                self._records.put(RecordKind.AGENDA, name, {"days": days})
                listed.add(chunk)
            else:
                self._records.delete(RecordKind.AGENDA, name)
                listed.discard(chunk)
            index[series] = sorted(listed)
        if index != stored["series"]:
            self._records.put(RecordKind.AGENDA, CHUNKS, {"series": index})
