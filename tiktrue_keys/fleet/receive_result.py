"""What a node's round of receiving gives: frozen, complete, printable by somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.list_freshness import STALE
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import TikTrueKeysError, UnavailableError


@dataclass(frozen=True)
class Refusal:
    """A line that was not consumed, or an envelope that was and whose word was not followed."""

    issuer: str
    number: int
    error: TikTrueKeysError


@dataclass(frozen=True, kw_only=True)
class Received(OperationResult):
    """What came: envelopes consumed, keys that came or changed, keys superseded, what was refused, what blocks.

    `ended` are issuers whose revocation list says nothing any more, with the end of its time. `outage` is why not
    everything was collected or acknowledged.
    """

    consumed: int = 0
    keys: tuple[ManagedKey, ...] = ()
    superseded: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    blocked: tuple[Refusal, ...] = ()
    waits_for: tuple[tuple[str, int], ...] = ()
    ended: tuple[tuple[str, Instant], ...] = ()
    outage: UnavailableError | None = None


@dataclass
class Tally:
    """The same while it grows."""

    consumed: int = 0
    keys: list[ManagedKey] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    blocked: list[Refusal] = field(default_factory=list)
    waits_for: list[tuple[str, int]] = field(default_factory=list)
    ended: list[tuple[str, Instant]] = field(default_factory=list)
    outage: UnavailableError | None = None


def notices(tally: Tally) -> tuple[Notice, ...]:
    """What to warn of."""
    words = [
        (f"{each.issuer}: {_named(each.number)} was refused: {each.error.message}", "refused-envelope")
        for each in tally.refusals
    ]
    words += [(f"{name}: envelope {number} has not come yet", "gap") for name, number in tally.waits_for]
    words += [(f"{name}: its revocation list ended at {rfc3339(end)}", STALE) for name, end in tally.ended]
    return tuple(Notice(code, text) for text, code in words)


def _named(number: int) -> str:
    """An envelope by its number; what is none has no number."""
    return f"envelope {number}" if number else "a line"
