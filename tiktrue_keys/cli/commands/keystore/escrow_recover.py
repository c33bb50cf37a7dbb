"""`escrow recover`: a keystore on a new machine, from a backup and an escrow's shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.confirm_restore import RECOVERED, AcceptClock, outcome, question
from tiktrue_keys.cli.input.share_words import ShareOption, read_shares
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.recovery.recover import must_be_recoverable, preview_recovery, recover

EXAMPLES = (
    ("Show what a recovery would do:", "cat shares/*.txt | tiktrue-keys escrow recover old.db --share - --dry-run"),
    (
        "Recover a keystore from a backup on a new machine:",
        "cat shares/*.txt | tiktrue-keys escrow recover old.db --share - --yes",
    ),
)
EXIT_STATUS = {7: "Restored, but a registered container that is there does not open with the keys of this backup."}
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Backup to recover from (default: the present keystore).")
    ] = None,
    share: ShareOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Verify the backup and the shares, and show what would be replaced.")
    ] = False,
    accept_clock: AcceptClock = False,
    reset_policy: Annotated[
        bool, typer.Option("--reset-policy", help="Remove the approval policy; this is recorded.")
    ] = False,
) -> Outcome:
    """Recover a keystore with an escrow's shares, and bind it to this machine.

    Recovers from a backup on a new machine or, without FILE, the present keystore on a machine that changed more than
    the binding allows. Verifies it completely, asks, creates this machine's host secret if there is none, and opens a
    new epoch, which nodes have to accept. A keystore that was there is kept beside the new one; keys that it knows to
    be revoked stay revoked. Its approval policy stays too, and may require approval for this; --reset-policy removes
    the policy, for when approvers have lost their keys. Licensed keys need their license as before. Reads no license.
    """
    context: CommandContext = ctx.obj
    backup = None if source is None else Path(source)
    name = str(context.keystore / FILE_NAME) if source is None else source
    must_be_recoverable(context.manager, backup)
    shares = read_shares(context, share)
    preview = preview_recovery(context.manager, backup, shares)
    if dry_run:
        return outcome(context, name, preview, None, verb=RECOVERED)
    context.confirm(question(context, name, preview))
    done = recover(
        context.manager,
        backup,
        shares,
        accept_clock=accept_clock,
        reset_policy=reset_policy,
        operation_id=context.operation_id,
    )
    return outcome(context, name, preview, done, verb=RECOVERED)
