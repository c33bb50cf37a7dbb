"""`escrow show`: what the keystore knows of its escrow."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.escrows import escrow_json, escrow_rows
from tiktrue_keys.cli.view.outcome import Fields, Outcome
from tiktrue_keys.recovery.escrow import the_escrow


def command(ctx: typer.Context) -> Outcome:
    """Show the escrow: how many shares it has, and when they were last verified."""
    context: CommandContext = ctx.obj
    escrow = the_escrow(context.manager)
    return Outcome(result=escrow_json(escrow), view=[Fields(escrow_rows(escrow))], ids=[str(escrow.number)])
