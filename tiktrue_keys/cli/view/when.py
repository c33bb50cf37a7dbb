"""Instants as people read them on a terminal: `in 29 d`, `3 h ago`."""

from __future__ import annotations

from tiktrue_keys.core.instants import DAY

_UNITS = (("d", DAY), ("h", 3_600), ("min", 60), ("s", 1))


def relative(instant: int, now: int) -> str:
    """Return how far an instant is from now, in the largest unit of which there are two or more, rounded down."""
    distance = abs(instant - now)
    unit, seconds = next(((unit, seconds) for unit, seconds in _UNITS if distance >= 2 * seconds), _UNITS[-1])
    if distance == 0:
        return "now"
    words = f"{distance // seconds} {unit}"
    return f"in {words}" if instant > now else f"{words} ago"
