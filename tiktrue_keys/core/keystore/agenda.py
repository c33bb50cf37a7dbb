"""The agenda: which keys change next, by series and day, so that a daily run need not read every key.

A series is a word that core/keys chooses; a day counts from 1970-01-01. A key belongs to one day of one series (its
owner), and sealed calendar records count the keys of each day. Come here to read the agenda. tallies.py writes it with
the records themselves; doctor compares it with all keys, and nothing that destroys a key relies on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.tallies import CHUNKS, chunk_name


@dataclass(frozen=True)
class AgendaDay:
    """A day of a series: its number of keys, and an instant that is not later than the earliest of their own."""

    day: int
    count: int
    first: Instant


def day_of(instant: int) -> int:
    """Return the day of an instant, counted from 1970-01-01 in UTC."""
    return instant // DAY


def day_owner(series: str, day: int, at: int = 0) -> Owner:
    """Return the owner of the keys of this day."""
    return Owner(RecordKind.AGENDA, f"{series} {day}", at)


def days(rows: Rows, series: str) -> Iterator[AgendaDay]:
    """Yield the days of a series that have keys, the earliest first."""
    index = rows.get(RecordKind.AGENDA, CHUNKS)
    for chunk in index["series"].get(series, ()) if index else ():
        stored = rows.get(RecordKind.AGENDA, chunk_name(series, chunk))
        for day, (count, first) in sorted((int(day), entry) for day, entry in stored["days"].items()) if stored else ():
            yield AgendaDay(day, count, Instant(first))


def keys_on(rows: Rows, series: str, day: int) -> list[dict[str, Any]]:
    """Return the payloads of the keys of one day, verified to be complete."""
    return rows.owned_by(RecordKind.KEY, day_owner(series, day))
