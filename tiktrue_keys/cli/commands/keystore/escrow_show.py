"""`escrow show`: what the keystore knows of its escrow."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.escrows import escrow_json, escrow_rows
from tiktrue_keys.cli.view.outcome import Fields, Outcome
from tiktrue_keys.recovery.escrow import the_escrow

EXAMPLES = (
    ("Show the escrow:", "tiktrue-keys escrow show"),
    ("Print it as JSON:", "tiktrue-keys escrow show --json"),
)
EXIT_STATUS = {3: "The keystore has no escrow."}


def command(ctx: typer.Context) -> Outcome:
    """Show the escrow's shares, its threshold and when it was last verified."""
    context: CommandContext = ctx.obj
    escrow = the_escrow(context.manager)
    return Outcome(result=escrow_json(escrow), view=[Fields(escrow_rows(escrow))], ids=[str(escrow.number)])
