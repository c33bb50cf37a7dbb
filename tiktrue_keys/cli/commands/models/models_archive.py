"""`models archive`: a container is offline on purpose."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.models.registry.containers import archive

EXAMPLES = (
    ("Mark a container that went to a tape:", "tiktrue-keys models archive 0123456789abcdef0123456789abcdef"),
    ("Watch it again:", "tiktrue-keys models archive 0123456789abcdef0123456789abcdef --undo"),
)


def command(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(metavar="FILE_ID", help="File id of the container, 32 hex digits.")],
    location: Annotated[
        str | None, typer.Option(metavar="FILE", help="Path or URL of the copy to archive (default: every location).")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Watch the container again.")] = False,
) -> Outcome:
    """Mark a container as offline on purpose.

    Its keys are kept, rotate does not look for it, and status does not report it as lagging. It opens with the keys of
    its last rewrap until these end; rewrap-model moves it to the active key when it is back.
    """
    context: CommandContext = ctx.obj
    done = archive(context.writer, file_id, location=location, undo=undo, operation_id=context.operation_id)
    return Outcome(
        result={"containers": [container_json(record) for record in done.records]},
        view=[Line(f"{record.file_id.hex()} {record.path or '(pipe)'}") for record in done.records],
        ids=[record.file_id.hex() for record in done.records],
        changed=done.changed,
        operation_id=done.operation_id,
        warnings=done.warnings,
    )
