"""The filter options of the audit commands, as core's filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiktrue_keys.core.audit.query import EVENTS, Filter
from tiktrue_keys.core.audit.record import OUTCOMES
from tiktrue_keys.core.instants import parse_instant
from tiktrue_keys.errors import UsageError


@dataclass(frozen=True)
class AuditFilter:
    """The filter, and whether it only limits the number of newest records."""

    filter: Filter
    last: int | None
    asks_only_last: bool


def audit_filter(
    *,
    key: Sequence[str] | None,
    model: Sequence[str] | None,
    event: Sequence[str] | None,
    outcome: Sequence[str] | None,
    actor: Sequence[str] | None,
    since: str | None,
    until: str | None,
    last: int | None,
) -> AuditFilter:
    """Return the filter. Raises UsageError for a malformed instant, an unknown event or an unknown outcome."""
    for each in event or ():
        if each not in EVENTS:
            raise UsageError(f"'{each}' is not an event", f"one of {', '.join(EVENTS)}")
    for each in outcome or ():
        if each not in OUTCOMES:
            raise UsageError(f"'{each}' is not an outcome", f"one of {', '.join(OUTCOMES)}")
    wanted = Filter(
        key=tuple(key or ()),
        model=tuple(model or ()),
        event=tuple(event or ()),
        outcome=tuple(outcome or ()),
        actor=tuple(actor or ()),
        since=None if since is None else parse_instant(since),
        until=None if until is None else parse_instant(until),
        last=last,
    )
    return AuditFilter(wanted, last, asks_only_last=last is not None and wanted == Filter(last=last))
