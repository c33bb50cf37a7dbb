"""The results of `receive`. They are immutable; rendering is the caller's job."""

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
    """A line that was not consumed, or a consumed envelope that was not applied."""

    issuer: str
    number: int
    error: TikTrueKeysError


@dataclass(frozen=True, kw_only=True)
class Received(OperationResult):
    """The result of a round: envelopes consumed, keys that are new or changed, keys superseded, refusals and blockages.

    `ended` names issuers whose revocation list has expired, with its expiry. `outage` says why not everything was
    collected or acknowledged. `foreign` counts revocations of keys that are not the issuer's to revoke.
    """

    consumed: int = 0
    keys: tuple[ManagedKey, ...] = ()
    superseded: tuple[str, ...] = ()
    foreign: int = 0
    refusals: tuple[Refusal, ...] = ()
    blocked: tuple[Refusal, ...] = ()
    waits_for: tuple[tuple[str, int], ...] = ()
    ended: tuple[tuple[str, Instant], ...] = ()
    outage: UnavailableError | None = None


@dataclass
class Tally:
    """The counts and lists of a round in progress."""

    consumed: int = 0
    keys: list[ManagedKey] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    foreign: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    blocked: list[Refusal] = field(default_factory=list)
    waits_for: list[tuple[str, int]] = field(default_factory=list)
    ended: list[tuple[str, Instant]] = field(default_factory=list)
    outage: UnavailableError | None = None


def notices(tally: Tally) -> tuple[Notice, ...]:
    """Return the warnings of a round."""
    words = [
        (f"{each.issuer}: {_named(each.number)} was refused: {each.error.message}", "refused-envelope")
        for each in tally.refusals
    ]
    words += [(f"{name}: envelope {number} has not arrived yet", "gap") for name, number in tally.waits_for]
    words += [(f"{name}: its revocation list expired at {rfc3339(end)}", STALE) for name, end in tally.ended]
    return tuple(Notice(code, text) for text, code in words)


def _named(number: int) -> str:
    """Return the name of an envelope; a line that is not an envelope has number 0."""
    return f"envelope {number}" if number else "a line"
