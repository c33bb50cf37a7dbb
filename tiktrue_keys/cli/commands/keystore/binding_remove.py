"""`binding remove`: one of several ways opens the keystore no longer."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.commands.keystore.rekey import consequences, rekey_outcome
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.bound_ways import way_of
from tiktrue_keys.cli.view.outcome import Outcome

EXAMPLES = (
    ("Show what removing the host secret would change:", "tiktrue-keys binding remove host-secret --dry-run"),
    ("Let the token open the keystore no longer:", "tiktrue-keys binding remove pkcs11"),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    way: Annotated[str, typer.Argument(metavar="WAY", help="Way to remove: host-secret, tpm2, pkcs11 or transit.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be renewed, and change nothing.")
    ] = False,
) -> Outcome:
    """Remove one of the ways that open the keystore.

    What opened the keystore once has its root secret, so removing a way renews the root, as rekey does: a new epoch
    begins, the escrow ends, every way that stays gets a new secret, and older copies open as before. The last way
    cannot be removed. The key in a PKCS#11 token is destroyed. Asks first. Reads no license.
    """
    context: CommandContext = ctx.obj
    removed = way_of(way)
    plan = context.manager.rekey(remove_way=removed, dry_run=True, operation_id=context.operation_id)
    if dry_run or not plan.dry_run:  # not a plan: what this operation id did the first time
        return rekey_outcome(context, plan)
    context.confirm(f"Remove {way}, and renew the root secret? {consequences(plan)}")
    context.settle()
    return rekey_outcome(context, context.manager.rekey(remove_way=removed, operation_id=context.operation_id))
