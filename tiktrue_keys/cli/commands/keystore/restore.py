"""`restore`: puts a backup in the keystore's place, as a new epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.confirm_restore import RESTORED, AcceptClock, outcome, question
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.core.operations.preview_restore import preview_restore


def command(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE", help="The backup.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Verify the backup and show what would be replaced.")
    ] = False,
    accept_clock: AcceptClock = False,
) -> Outcome:
    """Put a backup back in the keystore's place, as a new epoch.

    Verifies the backup whole, shows its newest record beside that of the keystore which is there, and asks. The
    replaced keystore is kept beside the new one; keys that it knows to be revoked or destroyed stay so, and what it
    has registered stays known; whatever else happened since the backup is lost. The backup opens only on its own
    machine, with its host secret. Nodes have to accept the new epoch. Reads no license.
    """
    context: CommandContext = ctx.obj
    preview = preview_restore(context.manager.session, Path(source))
    if dry_run:
        return outcome(context, source, preview, None, verb=RESTORED)
    context.confirm(question(context, source, preview))
    done = context.manager.restore(source, accept_clock=accept_clock, operation_id=context.operation_id)
    return outcome(context, source, preview, done, verb=RESTORED)
