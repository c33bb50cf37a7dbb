"""Explains the status of a key and what it still allows, from its stored instants and the rules of core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.cli.view.outcome import Fields, OnDemand, Table
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, Use, must_allow
from tiktrue_keys.errors import TikTrueKeysError

_SAID = {
    Use.ENCRYPT: "encrypt",
    Use.DECRYPT: "decrypt",
    Use.DECRYPT_DEPRECATED: "--allow-deprecated, rewrap, re-encrypt",
    Use.RECOVER_REVOKED: "reencrypt-model --recover-revoked",
}


@dataclass(frozen=True)
class Explanation:
    """One key: the member that decided, its instant, the reason, what is allowed, and the next change."""

    key: ManagedKey
    decided_by: str
    decided_at: Instant | None
    because: str
    may: tuple[Use, ...]
    next_status: str | None
    next_at: Instant | None


def explain(key: ManagedKey, now: Instant) -> Explanation:
    """Return the explanation of the status that `key` has at `now`."""
    key = key.at(now)
    decided_by, decided_at, because = _decision(key)
    next_status, next_at = _next(key, now)
    return Explanation(key, decided_by, decided_at, because, _allowed(key, now), next_status, next_at)


def explanation_json(explained: Explanation) -> dict[str, Any]:
    """Return a member of `result.explanations`."""
    return {
        "key_id": explained.key.key_id,
        "status": explained.key.status.value,
        "decided_by": explained.decided_by,
        "decided_at": rfc3339(explained.decided_at),
        "because": explained.because,
        "may": [use.value for use in explained.may],
        "next_status": explained.next_status,
        "next_at": rfc3339(explained.next_at),
    }


def explanation_table(explained: Iterable[Explanation]) -> Table:
    """Return a table with one row per key."""
    rows = OnDemand(lambda: map(_explanation_row, explained))
    return Table(("key", "status", "because", "may", "next"), rows, prose=("because", "may", "next"))


def _explanation_row(explained: Explanation) -> tuple[str, ...]:
    key = explained.key
    return key.key_id, key.status.value, explained.because, _may_words(explained), _next_words(explained)


def time_fields(now: Instant, clock: Instant) -> Fields:
    """Return the instant for which statuses are shown, and its source."""
    whose = "the newest audit record's or heartbeat's, because the clock is behind it" if clock < now else "the clock's"
    return Fields([("status as of", f"{rfc3339(now)}, {whose}")])


def _decision(key: ManagedKey) -> tuple[str, Instant | None, str]:
    if key.status is Status.DESTROYED:
        return "destroyed_at", key.destroyed_at, f"destroyed at {rfc3339(key.destroyed_at)}"
    if key.status is Status.REVOKED:
        reason = f": {key.revoke_reason}" if key.revoke_reason else ""
        return "revoked_at", key.revoked_at, f"revoked at {rfc3339(key.revoked_at)}{reason}"
    if key.status is Status.PENDING:
        return "pending", None, "published ahead of its promotion"
    if key.rotated_at is not None:
        return _after_rotation(key)
    if key.status is Status.EXPIRED:
        return "expires_at", key.expires_at, f"expired at {rfc3339(key.expires_at)} without a successor"
    return "expires_at", key.expires_at, f"no successor; expires at {rfc3339(key.expires_at)}"


def _after_rotation(key: ManagedKey) -> tuple[str, Instant | None, str]:
    ends = key.overlap_ends_at or key.rotated_at
    successor = f"rotated to {key.successor}" if key.successor else "rotated"
    verb = "lasts until" if key.status is Status.ROTATING else "ended at"
    return "overlap_ends_at", ends, f"{successor} at {rfc3339(key.rotated_at)}; the overlap {verb} {rfc3339(ends)}"


def _allowed(key: ManagedKey, now: Instant) -> tuple[Use, ...]:
    recovers = key.status is Status.REVOKED  # the other states have no need of it
    return tuple(use for use in Use if (use is not Use.RECOVER_REVOKED or recovers) and _allows(key, use, now))


def _allows(key: ManagedKey, use: Use, now: Instant) -> bool:
    try:
        must_allow(key, use, now)
    except TikTrueKeysError:
        return False
    return True


def _next(key: ManagedKey, now: Instant) -> tuple[str | None, Instant | None]:
    """Return the next change that time alone brings. Destruction also needs a run of cleanup, so its instant is the
    earliest.
    """
    if key.status is Status.ACTIVE:
        return "expired", key.expires_at
    if key.status is Status.ROTATING:
        return "deprecated", key.overlap_ends_at
    if key.status is not Status.DESTROYED and key.destroy_at is not None:
        return "destroyed", key.destroy_at
    if key.status in (Status.DEPRECATED, Status.EXPIRED) and now < key.decrypt_until:
        return "decrypts no more", key.decrypt_until
    return None, None


def _may_words(explained: Explanation) -> str:
    uses = [use for use in explained.may if use is not Use.DECRYPT_DEPRECATED or Use.DECRYPT not in explained.may]
    return "; ".join(_SAID[use] for use in uses) or "nothing"


def _next_words(explained: Explanation) -> str:
    return "" if explained.next_status is None else f"{explained.next_status} at {rfc3339(explained.next_at)}"
