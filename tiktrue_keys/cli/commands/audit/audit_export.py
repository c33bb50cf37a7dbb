"""`audit export`: the log in another program's format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from tiktrue_keys import __version__
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.audit_filter import (
    ActorFilter,
    EventFilter,
    KeyFilter,
    LastFilter,
    ModelFilter,
    OutcomeFilter,
    SinceFilter,
    UntilFilter,
    audit_filter,
)
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.cli.view.streams import write_out
from tiktrue_keys.core.audit.export import RECORD_WRITERS, tlog
from tiktrue_keys.core.audit.query import Filter, matching
from tiktrue_keys.core.durable import NewFile, write_all
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.outputs import OutputGate
from tiktrue_keys.errors import UsageError

_LINES_AT_ONCE = 128

EXAMPLES = (
    ("Write the log as CEF for a SIEM:", "tiktrue-keys audit export --format cef -o audit.cef"),
    ("Print a month as CSV:", "tiktrue-keys audit export --format csv --since 2026-11-01 --until 2026-12-01"),
)


def command(
    ctx: typer.Context,
    form: Annotated[
        Literal["jsonl", "csv", "cef", "ocsf", "tlog"],
        typer.Option(
            "--format", metavar="FORMAT", help="Output format: jsonl, csv, cef, ocsf or tlog (default: jsonl)."
        ),
    ] = "jsonl",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="File to create (default: standard output).")
    ] = None,
    key: KeyFilter = None,
    model: ModelFilter = None,
    event: EventFilter = None,
    outcome: OutcomeFilter = None,
    actor: ActorFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    last: LastFilter = None,
) -> Outcome:
    """Write the log in another program's format.

    One record for each line, oldest first. tlog is the signed head and every sealed record: any verifier can check it,
    but only this keystore can read it. It takes no filter.
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
    if form == "tlog" and wanted.filter != Filter():
        raise UsageError("tlog takes no filter", "choose another --format, or omit the filters")
    context.stdout_is_data = output is None
    lines = _lines(context, form, wanted.filter)
    count = (
        _write_lines(lines, write_out)
        if output is None
        else _to_file(lines, Path(output), context.manager.output_gate())
    )
    return Outcome(
        result={"format": form, "output": output, "lines": count, **wanted.members},
        messages=[*wanted.stated, *([] if output is None else [f"Wrote {plural(count, 'line')} to {output}"])],
        shows_data=output is None,
    )


def _lines(context: CommandContext, form: str, wanted: Filter) -> Iterator[str]:
    if form == "tlog":
        return tlog(context.manager.audit_checkpoint(), context.manager.audit_leaves())
    return RECORD_WRITERS[form](matching(context.manager.audit_records(), wanted), __version__)


def _to_file(lines: Iterator[str], path: Path, gate: OutputGate) -> int:
    with NewFile(path, gate=gate) as file:
        count = _write_lines(lines, lambda text: write_all(file.fd, text.encode()))
        file.commit(replace=False)
    return count


def _write_lines(lines: Iterator[str], write: Callable[[str], None]) -> int:
    """Write the lines, many at once, and return their number. Those before a damaged record are written too."""
    held: list[str] = []
    count = 0
    try:
        for line in lines:
            held.append(line)
            count += 1
            if len(held) == _LINES_AT_ONCE:
                text = "".join(held)
                held.clear()
                write(text)
    finally:
        if held:
            write("".join(held))
    return count
