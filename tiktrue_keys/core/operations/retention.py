"""Which backups of a folder are kept: one a day for some days, then one a week for five weeks.

Come here for the rule alone; backup_folder.py looks at the files. Days and weeks are those of UTC, and weeks begin on
Monday, so that what one run keeps does not depend on the hour of the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.errors import UsageError

DEFAULT_KEEP = 7
MAX_KEEP = 3_660
WEEKS = 5
_FIRST_MONDAY = 4
"""1970-01-05, counted in days from 1970-01-01."""


def must_be_days(keep: int) -> None:
    """Raise UsageError for a number of days that is out of bounds."""
    if not 1 <= keep <= MAX_KEEP:
        raise UsageError(f"backups are kept for 1 to {MAX_KEEP} days, not {keep}")


def kept(taken: Iterable[Instant], now: Instant, keep: int) -> frozenset[Instant]:
    """Return the instants of the backups that are kept of those taken at `taken`; the newest of all is one of them.

    `keep` days count, today included. A backup from the future is kept as one of its day.
    """
    in_order = sorted(taken)
    first_day = now // DAY - keep + 1
    first_week = _week_of(first_day) - WEEKS
    newest: dict[tuple[str, int], Instant] = {}
    for instant in in_order:
        day = instant // DAY
        if day >= first_day:
            newest["day", day] = instant
        elif _week_of(day) >= first_week:
            newest["week", _week_of(day)] = instant
    return frozenset((*newest.values(), *in_order[-1:]))


def _week_of(day: int) -> int:
    return (day - _FIRST_MONDAY) // 7
