"""What a node's round of receiving gives: frozen, complete, printable by somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import TikTrueKeysError


@dataclass(frozen=True)
class Refusal:
    """A line that was not consumed, or an envelope that was and whose word was not followed."""

    issuer: str
    number: int
    error: TikTrueKeysError


@dataclass(frozen=True, kw_only=True)
class Received(ActResult):
    """What came: envelopes consumed, keys that came or changed, keys superseded, what was refused, what blocks."""

    consumed: int = 0
    keys: tuple[ManagedKey, ...] = ()
    superseded: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    blocked: tuple[Refusal, ...] = ()
    waits_for: tuple[tuple[str, int], ...] = ()


@dataclass
class Tally:
    """The same while it grows."""

    consumed: int = 0
    keys: list[ManagedKey] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    blocked: list[Refusal] = field(default_factory=list)
    waits_for: list[tuple[str, int]] = field(default_factory=list)


def notices(tally: Tally) -> tuple[Notice, ...]:
    """What to warn of."""
    words = [
        (f"{each.issuer}: envelope {each.number} was refused: {each.error.message}", "refused-envelope")
        for each in tally.refusals
    ]
    words += [(f"{name}: envelope {number} has not come yet", "gap") for name, number in tally.waits_for]
    return tuple(Notice(code, text) for text, code in words)
