"""`approvals export`: the text that approvers sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Line, Outcome, Raw
from tiktrue_keys.core.durable import create_bytes, replace_bytes

_MODE = 0o644

EXAMPLES = (
    ("Write the text of a plan to a file:", "tiktrue-keys approvals export 1 -o plan.txt"),
    ("Print it:", "tiktrue-keys approvals export 1"),
)


def command(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", min=1, help="Number of the plan.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE|-", help="File to write (default: standard output).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> Outcome:
    """Write the text that approvers sign.

    It names the keystore, the operation, what it is done to, and when the plan expires. It holds no secret, but paths
    and names of models. An approver reads it, and signs the file as it is with their OpenSSH key: ssh-keygen -Y sign -n
    tiktrue-keys -f KEY FILE writes FILE.sig. Reads no license.
    """
    context: CommandContext = ctx.obj
    text = context.manager.approval_text(number)
    result = {"approval": number, "text": text.decode(), "path": None if output in (None, "-") else output}
    if output in (None, "-"):
        return Outcome(result=result, view=[Raw(text.decode())])
    gate = context.manager.output_gate()
    (replace_bytes if force else create_bytes)(Path(output or ""), text, _MODE, gate=gate, what="the plan")
    return Outcome(result=result, view=[Line(output or "")], ids=[str(number)], changed=True)
