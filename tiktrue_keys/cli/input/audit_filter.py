"""The filter options of the audit commands, the same for each, as core's filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

import typer

from tiktrue_keys.cli.input.moment import parse_moment
from tiktrue_keys.core.audit.events import EVENTS
from tiktrue_keys.core.audit.query import Filter
from tiktrue_keys.core.audit.record import OUTCOMES
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.errors import UsageError

KeyFilter = Annotated[
    list[str] | None, typer.Option("--key", metavar="KEY_ID", help="Key id that the record names (repeatable).")
]
ModelFilter = Annotated[
    list[str] | None, typer.Option("--model", metavar="MODEL", help="Model id that the record names (repeatable).")
]
EventFilter = Annotated[
    list[str] | None, typer.Option("--event", metavar="EVENT", help="Event name, such as rotate (repeatable).")
]
OutcomeFilter = Annotated[
    list[str] | None, typer.Option("--outcome", metavar="OUTCOME", help="Outcome: ok, refused or failed (repeatable).")
]
ActorFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--actor",
        metavar="USER",
        help="User or user@host: who ran the command, logged in or was claimed by SUDO_USER (repeatable).",
    ),
]
SinceFilter = Annotated[
    str | None, typer.Option("--since", metavar="INSTANT", help="Earliest time, such as 1h, yesterday or 2026-11-30.")
]
UntilFilter = Annotated[str | None, typer.Option("--until", metavar="INSTANT", help="Time to stop before.")]
LastFilter = Annotated[
    int | None, typer.Option("--last", metavar="N", min=1, help="Number of records, the newest of those that match.")
]


@dataclass(frozen=True)
class AuditFilter:
    """The filter, whether it only limits the number of newest records, and how its local times were read."""

    filter: Filter
    last: int | None
    asks_only_last: bool
    stated: Sequence[str]

    @property
    def members(self) -> Mapping[str, str | None]:
        """Return `since` and `until` for the result, in UTC."""
        return {"since": rfc3339(self.filter.since), "until": rfc3339(self.filter.until)}


def audit_filter(
    now: Instant,
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
        _must_be_one("an event", each, EVENTS)
    for each in outcome or ():
        _must_be_one("an outcome", each, OUTCOMES)
    moments = {
        name: parse_moment(text, now) for name, text in (("--since", since), ("--until", until)) if text is not None
    }
    start, end = (moments[name].instant if name in moments else None for name in ("--since", "--until"))
    if start is not None and end is not None and start > end:
        raise UsageError(f"--since {rfc3339(start)} is after --until {rfc3339(end)}", "exchange them")
    wanted = Filter(
        key=tuple(key or ()),
        model=tuple(model or ()),
        event=tuple(event or ()),
        outcome=tuple(outcome or ()),
        actor=tuple(actor or ()),
        since=start,
        until=end,
        last=last,
    )
    lines = [moment.stated(name) for name, moment in moments.items()]
    return AuditFilter(wanted, last, last is not None and wanted == Filter(last=last), [line for line in lines if line])


def _must_be_one(what: str, given: str, known: Sequence[str]) -> None:
    if given in known:
        return
    near = get_close_matches(given, known, n=3)
    hint = f"one of {', '.join(known)}"
    raise UsageError(
        f"'{given[:40]}' is not {what}", f"did you mean {' or '.join(near)}? It is {hint}" if near else hint
    )
