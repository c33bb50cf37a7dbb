"""`models forget`: a container leaves the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.models.registry.containers import forget, registered_at

EXAMPLES = (
    ("Forget a container that was deleted:", "tiktrue-keys models forget 0123456789abcdef0123456789abcdef --yes"),
    (
        "The same, printing the result as JSON:",
        "tiktrue-keys models forget 89abcdef0123456789abcdef01234567 --yes --json",
    ),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(metavar="FILE_ID", help="File id of the container, 32 hex digits.")],
    location: Annotated[
        str | None, typer.Option(metavar="FILE", help="Path or URL of the copy to forget (default: every location).")
    ] = None,
) -> Outcome:
    """Remove a container from the registry.

    For a container that is gone for good: cleanup may then destroy its keys. The file itself is not touched. Asks for
    confirmation on a terminal; elsewhere it needs --yes.
    """
    context: CommandContext = ctx.obj
    where = "" if location is None else f" at {location}"
    registered_at(context.manager, file_id, location)
    context.confirm(f"Forget container {file_id}{where}, so that cleanup may destroy its keys?")
    forgotten = forget(context.writer, file_id, location=location, operation_id=context.operation_id)
    return Outcome(
        result={"containers": [container_json(record) for record in forgotten.records]},
        view=[Line(f"{record.file_id.hex()} {record.path or '(pipe)'}") for record in forgotten.records],
        ids=[record.file_id.hex() for record in forgotten.records],
        changed=forgotten.changed,
        operation_id=forgotten.operation_id,
        warnings=forgotten.warnings,
    )
