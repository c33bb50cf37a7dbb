"""Selects audit records: a filter that keeps their order.

Come here to add a condition to `audit show` or `audit export`. The functions are pure; the caller reads the records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.names import KeyId, short_of


@dataclass(frozen=True)
class Filter:
    """Conditions on a record. An empty tuple or None sets none; of several values of one member any may match.

    `key` takes key ids or the first 8 of their 16 hex digits. `actor` takes a user or `user@host`: the effective user,
    the one who logged in, or the one whom SUDO_USER claimed. `since` is inclusive, `until` exclusive; `last` keeps that
    many of the newest records that meet the other conditions.
    """

    key: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    since: Instant | None = None
    until: Instant | None = None
    last: int | None = None

    def accepts(self, record: AuditRecord) -> bool:
        """Return whether `record` meets every condition but `last`."""
        return (
            _any(self.event, record.event)
            and _any(self.outcome, record.outcome)
            and _any(self.model, record.model_id)
            and (not self.key or _any(self.key, record.key_id, _short(record.key_id)))
            and (not self.actor or _any(self.actor, *_names_of(record.actor)))
            and (self.since is None or record.time >= self.since)
            and (self.until is None or record.time < self.until)
        )


def matching(records: Iterable[AuditRecord], wanted: Filter) -> Iterator[AuditRecord]:
    """Yield the records that `wanted` accepts, in their order. Holds at most `last` of them at a time."""
    accepted = (record for record in records if wanted.accepts(record))
    if wanted.last is None:
        yield from accepted
    else:
        yield from deque(accepted, maxlen=max(wanted.last, 0))


def _any(wanted: tuple[str, ...], *values: str | None) -> bool:
    return not wanted or any(value in wanted for value in values)


def _names_of(actor: Actor) -> Iterator[str]:
    users = dict.fromkeys((actor.user, *actor.names, *filter(None, [actor.claimed_sudo_user])))
    for user in users:
        yield user
        yield f"{user}@{actor.host}"


def _short(key_id: str | None) -> str | None:
    return short_of(KeyId(key_id)) if key_id else None
