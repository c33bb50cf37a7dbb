"""`audit show`: records of the audit log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import Annotated, Any, TypeVar

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.audit_filter import (
    ActorFilter,
    AuditFilter,
    EventFilter,
    KeyFilter,
    LastFilter,
    ModelFilter,
    OutcomeFilter,
    SinceFilter,
    UntilFilter,
    audit_filter,
)
from tiktrue_keys.cli.input.table_options import ColumnOption, Format, FormatOption, chosen_columns
from tiktrue_keys.cli.view.outcome import Block, Cell, OnDemand, Outcome, Table, When
from tiktrue_keys.cli.view.streams import wait_for_reader
from tiktrue_keys.core.audit.events import CATALOGUE, EVERYWHERE, AuditEvent
from tiktrue_keys.core.audit.query import Filter, matching
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.names import short_of
from tiktrue_keys.errors import NotFoundError

_EVERY_SECONDS = 1.0
_Shown = TypeVar("_Shown")
COLUMNS = ("number", "time", "user", "event", "outcome", "key or model", "before", "after", "detail")
_SPARE_COLUMNS = ("detail", "after", "before", "number", "user")
_View = Callable[[OnDemand[tuple[Cell, ...]]], list[Block]]


def _members_of(event: AuditEvent) -> str:
    return f"Its detail: {', '.join(event.members)}." if event.members else ""


EXAMPLES = (
    ("Show the newest 20 records:", "tiktrue-keys audit show --last 20"),
    (
        "Show refused decryptions since a day:",
        "tiktrue-keys audit show --event decrypt --outcome refused --since 2026-11-01",
    ),
)

PAGE_SECTIONS = {
    "EVENTS": {name: f"{each.meaning} {_members_of(each)}".strip() for name, each in CATALOGUE.items()},
    "MEMBERS OF DETAIL": dict(EVERYWHERE),
}


def command(
    ctx: typer.Context,
    key: KeyFilter = None,
    model: ModelFilter = None,
    event: EventFilter = None,
    outcome: OutcomeFilter = None,
    actor: ActorFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    last: LastFilter = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep running and show new records as they are written.")
    ] = False,
    column: ColumnOption = None,
    form: FormatOption = "table",
) -> Outcome | Iterator[Outcome]:
    """Show audit records.

    Oldest first. Showing records is not recorded itself. With --follow and --json there is one object for each line.

    The user of a record is the effective one, with the one who logged in behind sudo: root (logged in as ada). Where
    the kernel knows of no login, root (sudo: ada?) is what SUDO_USER claimed, which the caller can set to anything.
    With --json the actor has the effective user id, the kernel's login uid (null without a login) and SUDO_USER as
    claimed_sudo_user. EVENTS lists every event and what its record tells.
    """
    context: CommandContext = ctx.obj
    wanted = audit_filter(
        context.manager.now(),
        key=key,
        model=model,
        event=event,
        outcome=outcome,
        actor=actor,
        since=since,
        until=until,
        last=last,
    )
    found, size = _first(context, wanted)
    if not found:
        _must_be_known(context, key or ())
    view = partial(_view, column, form)
    first = _outcome(found, size, view)
    first = replace(first, result={**first.result, **wanted.members}, messages=[*wanted.stated, *first.messages])
    return chain([first], _new_ones(context, wanted.filter, size, partial(view, heading=False))) if follow else first


def _must_be_known(context: CommandContext, keys: Sequence[str]) -> None:
    """Raises NotFoundError for an id that no key has. A key of the log that a restore has undone has records."""
    for given in keys:
        key_id = context.manager.find(given).key_id
        if given not in (key_id, short_of(key_id)):
            raise NotFoundError(f"no key {given}", f"its model's key is {key_id}", remedy="list-keys")


def _first(context: CommandContext, wanted: AuditFilter) -> tuple[list[bytes], int]:
    """The encoded records that are there, and how many the log has; where only the newest count, no others are read."""
    size = context.manager.audit_size()
    start = 0 if not wanted.asks_only_last else max(size - (wanted.last or 0), 0)
    return _encoded(matching(context.manager.audit_records(start=start), wanted.filter)), size


def _new_ones(context: CommandContext, wanted: Filter, size: int, view: _View) -> Iterator[Outcome]:
    """New records as they are written, until the command is interrupted."""
    wanted = replace(wanted, last=None)
    while True:
        wait_for_reader(_EVERY_SECONDS, sys.stdout)
        now = context.manager.audit_size()
        if now > size:
            found = _encoded(matching(context.manager.audit_records(start=size), wanted))
            size = now
            if found:
                yield _outcome(found, size, view)


def _encoded(records: Iterable[AuditRecord]) -> list[bytes]:
    """Records as they are held: some 400 bytes each, and decoded one at a time when they are written."""
    return [record.encode() for record in records]


def _outcome(found: list[bytes], size: int, view: _View) -> Outcome:
    def each(shown: Callable[[AuditRecord], _Shown]) -> OnDemand[_Shown]:
        return OnDemand(lambda: (shown(AuditRecord.decode(data)) for data in found))

    return Outcome(
        result={"records": each(record_json), "size": size},
        view=view(each(_row)),
        messages=[] if found else ["No records."],
        ids=each(lambda record: str(record.number)),
    )


def _view(
    column: list[str] | None, form: Format, rows: OnDemand[tuple[Cell, ...]], *, heading: bool = True
) -> list[Block]:
    table = Table(COLUMNS, rows, heading, spare=_SPARE_COLUMNS, prose=("detail",))
    return [chosen_columns(table, column, form)] if any(True for _ in rows) or form == "csv" else []


def record_json(record: AuditRecord) -> dict[str, Any]:
    """A member of `result.records`."""
    return {
        "epoch": record.epoch,
        "number": record.number,
        "time": rfc3339(record.time),
        "actor": asdict(record.actor),
        "event": record.event,
        "outcome": record.outcome,
        "operation_id": record.operation_id,
        "key_id": record.key_id,
        "model_id": record.model_id,
        "before": record.before,
        "after": record.after,
        "detail": record.detail,
    }


def _row(record: AuditRecord) -> tuple[Cell, ...]:
    return (
        str(record.number),
        When(record.time),
        record.actor.shown,
        record.event,
        record.outcome,
        record.key_id or record.model_id or "",
        record.before or "",
        record.after or "",
        canonical_json(record.detail).decode() if record.detail else "",
    )
