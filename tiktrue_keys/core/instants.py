"""Points in time and durations: whole Unix seconds in UTC, RFC 3339 text, and the durations that options accept.

Use Instant and Seconds for every time that is stored or compared; parse and print them only here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NewType

from tiktrue_keys.errors import RefusedError, UsageError

Instant = NewType("Instant", int)
"""Seconds since 1970-01-01T00:00:00Z."""

Seconds = NewType("Seconds", int)
"""A duration in seconds."""

DAY = Seconds(86_400)
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z, the last instant that RFC 3339 can express

_SIMPLE = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_ISO_8601 = re.compile(
    r"P(?:([0-9]{1,6})W|(?:([0-9]{1,6})D)?(?:T(?:([0-9]{1,6})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,9})S)?)?)"
)


def instant_of(clock: float) -> Instant:
    """Return a clock's reading as an instant. Raises RefusedError when a record cannot hold it."""
    if not 0 <= clock <= _LATEST:  # nan is refused too
        raise RefusedError(f"the clock says {clock!r} seconds since 1970", "set the clock right")
    return Instant(int(clock))


def rfc3339(instant: int | None) -> str | None:
    """Return `instant` as `2026-11-24T07:00:00Z`; None stays None."""
    if instant is None:
        return None
    moment = datetime.fromtimestamp(min(max(instant, 0), _LATEST), UTC)
    return moment.isoformat()[: -len("+00:00")] + "Z"  # half of strftime's cost, which a list of keys has many times


def parse_instant(text: str) -> Instant:
    """Return the instant that `text` gives in RFC 3339 or as a date (`2026-11-24`, midnight UTC). Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise UsageError(
            f"'{text[:40]}' is not an instant", "write it like 2026-11-24 or 2026-11-24T07:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Instant(int(moment.timestamp()))


def parse_duration(text: str) -> Seconds:
    """Return the duration that `text` gives: `30s`, `5m`, `12h`, `90d`, `2w` or ISO 8601 (`P30D`, `PT12H`, `P2W`).

    Raises UsageError for anything else.
    """
    simple = _SIMPLE.fullmatch(text)
    if simple:
        return Seconds(int(simple[1]) * _UNITS[simple[2]])
    iso = _ISO_8601.fullmatch(text)
    if iso and any(iso.groups()) and not text.endswith("T"):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in iso.groups())
        return Seconds(weeks * 604_800 + days * 86_400 + hours * 3_600 + minutes * 60 + seconds)
    raise UsageError(f"'{text[:40]}' is not a duration", "write it like 30s, 12h, 90d, 2w or P30D")


def duration_text(seconds: int) -> str:
    """Return the shortest exact spelling of a duration: `90d`, `12h`, `45s`. Weeks are written as days."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
