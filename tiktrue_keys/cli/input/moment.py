"""Reads the points in time that people type: `1h` ago, `yesterday`, a date, a date and time with or without a zone.

Without a zone a date is one of local time, which TZ sets; the moment then says how it was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from tiktrue_keys.core.instants import Instant, parse_duration, rfc3339
from tiktrue_keys.errors import UsageError

_HINT = "write it like 1h, yesterday, 2026-11-30 or 2026-11-30T07:00:00+01:00"
_DAYS_BACK = {"today": 0, "yesterday": 1}


@dataclass(frozen=True)
class Moment:
    """An instant, and whether its text was one of local time."""

    instant: Instant
    is_local: bool = False

    def stated(self, option: str) -> str:
        """Return a line that says how the option's text was read; empty where there is only one way to read it."""
        local = datetime.fromtimestamp(self.instant, UTC).astimezone()
        if not self.is_local or not local.utcoffset():
            return ""
        return f"{option} is {local.isoformat()} in local time ({local.tzname()}), {rfc3339(self.instant)}."


def parse_moment(text: str, now: Instant) -> Moment:
    """Return the moment that `text` names, seen from `now`. Raises UsageError when it names none."""
    given = text.strip()
    if given == "now":
        return Moment(now)
    if given in _DAYS_BACK:
        today = datetime.fromtimestamp(now, UTC).astimezone().date()
        return _moment(datetime.combine(today - timedelta(days=_DAYS_BACK[given]), time()), text)
    try:
        return Moment(Instant(now - parse_duration(given.removesuffix(" ago"))))
    except UsageError:
        pass
    try:
        return _moment(datetime.fromisoformat(given), text)
    except ValueError:
        raise _unreadable(text) from None


def _moment(found: datetime, text: str) -> Moment:
    """datetime.timestamp takes a naive one for local time, with the offset of that day."""
    try:
        return Moment(Instant(int(found.timestamp())), is_local=found.tzinfo is None)
    except (OverflowError, OSError, ValueError):
        raise _unreadable(text) from None


def _unreadable(text: str) -> UsageError:
    return UsageError(f"'{text[:40]}' is not a point in time", _HINT)
