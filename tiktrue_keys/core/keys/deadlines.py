"""Deadlines of keys from the agenda: what is due, how many keys have which status, and what expires first.

Come here for what a daily run and the metrics ask. The cost grows with the number of days on which keys change, not
with the number of keys. A keystore of schema version 1 has no agenda: every key is read there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keys.keyring import StoredKey, all_keys, keys_of_day
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN, Series, Status, is_due, next_change
from tiktrue_keys.core.keystore import agenda
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.errors import IntegrityError

_FEW = 64
"""Up to so many keys of one day are read for the exact instant of the first."""


def due_keys(rows: Rows, now: Instant, within: Seconds, damaged: list[IntegrityError]) -> list[StoredKey]:
    """Return the keys that `rotate --due` rotates, the first to expire first.

    Damage does not hold up the rest: where the agenda or a key on it is damaged, every key is read, and the errors are
    appended to `damaged`.
    """
    try:
        due = [stored for stored in _candidates(rows, now, within) if is_due(stored.key, now, within)]
    except IntegrityError as error:
        before = len(damaged)
        due = [stored for stored in all_keys(rows, now, damaged) if is_due(stored.key, now, within)]
        if len(damaged) == before:
            damaged.append(error)
    return sorted(due, key=lambda stored: (stored.key.expires_at, stored.key.order))


@dataclass(frozen=True)
class KeyCounts:
    """The number of keys of each status and of those that are due, and when the first active key expires.

    `next_expiry` is None when no key is active. Where more than 64 keys are due on the same day, it may be earlier by
    up to that day.
    """

    by_status: Mapping[Status, int]
    due: int
    next_expiry: Instant | None


def key_counts(rows: Rows, now: Instant, within: Seconds) -> KeyCounts:
    """Return the counts at `now`."""
    if _concerns_many(rows, now, within):
        return _counted(all_keys(rows, now), now, within)
    due = sum(is_due(stored.key, now, within) for stored in _candidates(rows, now, within))
    return KeyCounts(_by_status(rows, now), due, _next_expiry(rows, now))


def _concerns_many(rows: Rows, now: Instant, within: Seconds) -> bool:
    """Return whether so many keys have to be looked at that reading all of them, once, costs less time and memory."""
    if not rows.has_agenda:
        return True
    latest = now + max(0, within - DEFAULT_WITHIN)
    listed = [(each.count, series, each.day) for series in Series for each in agenda.days(rows, series)]
    near = sum(count for count, series, day in listed if series is Series.DUE and day * DAY <= latest)
    return near > max(_FEW, sum(count for count, _, _ in listed) // 4)


def _counted(keys: Iterable[StoredKey], now: Instant, within: Seconds) -> KeyCounts:
    by_status: Counter[Status] = Counter()
    due, next_expiry = 0, None
    for stored in keys:
        key = stored.key
        by_status[key.status] += 1
        due += is_due(key, now, within)
        if key.status is Status.ACTIVE and (next_expiry is None or key.expires_at < next_expiry):
            next_expiry = key.expires_at
    return KeyCounts(by_status, due, next_expiry)


@dataclass(frozen=True)
class Deadline:
    """A day on which keys change: what they wait for, an instant not later than the first, and how many they are."""

    series: Series
    first: Instant
    count: int


def upcoming(rows: Rows, now: Instant, most: int) -> list[Deadline]:
    """Return the next days on which keys expire or overlaps end, at most `most`; none for schema version 1."""
    found = []
    for series in (Series.DUE, Series.ROTATED):
        ahead = (each for each in agenda.days(rows, series) if (each.day + 1) * DAY > now)
        for each in islice(ahead, most):
            first = each.first if series is Series.DUE else Instant(each.day * DAY)
            found.append(Deadline(series, Instant(max(first, now)), each.count))
    return sorted(found, key=lambda deadline: deadline.first)[:most]


def must_agree(rows: Rows, now: Instant) -> int:
    """Compare the agenda with every key, which verifies every row, and return the number of keys.

    Raises IntegrityError where they differ.
    """
    expected: Counter[tuple[str, int]] = Counter()
    for stored in all_keys(rows, now):
        series, at = next_change(stored.key)
        expected[(series, agenda.day_of(at))] += 1
    kept = {(series.value, each.day): each.count for series in Series for each in agenda.days(rows, series)}
    if rows.has_agenda and kept != expected:
        raise IntegrityError("the agenda does not list the keys as they are", remedy="damaged-keystore")
    return expected.total()


def _by_status(rows: Rows, now: Instant) -> Counter[Status]:
    counts: Counter[Status] = Counter()
    for series, later, earlier in (
        (Series.DUE, Status.ACTIVE, None),  # one that is due may be active or expired
        (Series.ROTATED, Status.ROTATING, Status.DEPRECATED),
        (Series.PENDING, Status.PENDING, Status.PENDING),
        (Series.REVOKED, Status.REVOKED, Status.REVOKED),
        (Series.DESTROYED, Status.DESTROYED, Status.DESTROYED),
    ):
        for each in agenda.days(rows, series):
            if (each.day + 1) * DAY <= now and earlier is not None:
                counts[earlier] += each.count
            elif each.day * DAY > now or earlier is later:
                counts[later] += each.count
            else:
                counts.update(stored.key.status for stored in keys_of_day(rows, series, each.day, now))
    return counts


def _next_expiry(rows: Rows, now: Instant) -> Instant | None:
    found: list[int] = []
    for each in agenda.days(rows, Series.DUE):
        if found and each.day * DAY > min(found):
            break
        if each.count > _FEW and each.first > now:
            found.append(each.first)
        else:
            keys = (stored.key for stored in keys_of_day(rows, Series.DUE, each.day, now))
            found += [key.expires_at for key in keys if key.status is Status.ACTIVE]
    return Instant(min(found)) if found else None


def _candidates(rows: Rows, now: Instant, within: Seconds) -> Iterator[StoredKey]:
    """Yield every key that may be due, and others."""
    if not rows.has_agenda:
        yield from all_keys(rows, now)
        return
    # A key's day on the agenda is that on which it is due for the default period; a longer one makes it due earlier.
    latest = now + max(0, within - DEFAULT_WITHIN)
    for each in agenda.days(rows, Series.DUE):
        if each.day * DAY > latest:
            return
        yield from keys_of_day(rows, Series.DUE, each.day, now)
