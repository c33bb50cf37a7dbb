"""Warnings attached to results: a stable code, a message, and the key concerned.

Come here to add a warning to a result. This module does not print; the command line does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notice:
    """One entry of `warnings` in the JSON envelope; `remedy` and `about` as an error has them.

    An `urgent` one is shown with --quiet too.
    """

    code: str
    message: str
    key_id: str | None = None
    remedy: str = ""
    about: Mapping[str, str] = field(default_factory=dict, hash=False)
    urgent: bool = False


def plural(count: int, what: str) -> str:
    """Return `count` and `what`, with an s unless `count` is 1: `1 container`, `2 containers`."""
    return f"{count} {what}{'s' * (count != 1)}"


def each_once(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """Return the notices in order, without repetitions."""
    return tuple(dict.fromkeys(notices))
