"""`models forget`: a container leaves the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.models.registry.containers import forget


def command(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(metavar="FILE_ID", help="The container's file id, 32 hex digits.")],
) -> Outcome:
    """Take a container out of the registry.

    For one that is gone for good: its keys may then be destroyed by cleanup. The file itself is not touched. Asks on a
    terminal, else needs --yes.
    """
    context: CommandContext = ctx.obj
    context.confirm(f"Forget container {file_id}, so that cleanup may destroy its keys?")
    forgotten = forget(context.writer, file_id, operation_id=context.operation_id)
    return Outcome(
        result={"containers": [container_json(forgotten.record)]},
        view=[Line(f"{forgotten.record.file_id.hex()} {forgotten.record.path or '(pipe)'}")],
        ids=[forgotten.record.file_id.hex()],
        changed=forgotten.changed,
        operation_id=forgotten.operation_id,
        warnings=forgotten.warnings,
    )
