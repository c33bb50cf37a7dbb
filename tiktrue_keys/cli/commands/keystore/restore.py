"""`restore`: puts a backup in the keystore's place, as a new epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.confirm_restore import RESTORED, AcceptClock, outcome, question
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.core.operations.preview_restore import preview_restore

EXAMPLES = (
    ("Show what a restore would replace:", "tiktrue-keys restore /mnt/backup/keystore.db --dry-run"),
    ("Restore without being asked:", "tiktrue-keys restore /mnt/backup/keystore.db --yes"),
)
EXIT_STATUS = {7: "Restored, but a registered container that is there does not open with the keys of this backup."}
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE", help="Backup to restore.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Verify the backup and show what would be replaced.")
    ] = False,
    accept_clock: AcceptClock = False,
    rehearsal: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Restore into DIR, a new folder, for practice; the keystore stays as it is."),
    ] = None,
) -> Outcome:
    """Replace the keystore by a backup, as a new epoch.

    Verifies the whole backup, shows its newest record beside that of the present keystore, and asks. The replaced
    keystore is kept beside the new one. Keys that it knows to be revoked or destroyed stay so, and its registered
    containers stay registered; anything else since the backup is lost. --dry-run names the keys, rotations and
    containers that would be lost. Afterwards the containers that do not open any more are named, with the command that
    goes back. The backup opens only on its own machine, with its host secret. Nodes have to accept the new epoch. Reads
    no license.

    --rehearsal proves that a backup restores: the copy in DIR lists, verifies and decrypts, and it signs, sends and
    changes nothing. It opens only there, with --keystore DIR; delete the folder to end it.
    """
    context: CommandContext = ctx.obj
    if rehearsal is not None and not dry_run:
        return _rehearse(context, source, rehearsal, accept_clock=accept_clock)
    preview = preview_restore(context.manager.session, Path(source))
    if dry_run:
        return outcome(context, source, preview, None, verb=RESTORED)
    context.confirm(question(context, source, preview))
    done = context.manager.restore(source, accept_clock=accept_clock, operation_id=context.operation_id)
    return outcome(context, source, preview, done, verb=RESTORED)


def _rehearse(context: CommandContext, source: str, folder: str, *, accept_clock: bool) -> Outcome:
    preview = preview_restore(context.manager.session, Path(source))
    done = context.manager.rehearse(source, folder, accept_clock=accept_clock)
    with context.manager_of(Path(folder).absolute()) as copy:
        return outcome(context, source, preview, done, verb=RESTORED, rehearsal=copy)
