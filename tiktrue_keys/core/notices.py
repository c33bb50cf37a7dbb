"""A warning that a result carries: a stable code, words for people, the key it is about. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notice:
    """One entry of `warnings` in the JSON envelope; `remedy` and `about` as an error has them."""

    code: str
    message: str
    key_id: str | None = None
    remedy: str = ""
    about: Mapping[str, str] = field(default_factory=dict, hash=False)


def plural(count: int, what: str) -> str:
    """`1 container`, `2 containers`."""
    return f"{count} {what}{'s' * (count != 1)}"


def each_once(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """Notices without repetition, in order."""
    return tuple(dict.fromkeys(notices))
