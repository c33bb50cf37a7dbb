"""`escrow show`: what the keystore knows of its escrow."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.blocks import Fields, Outcome
from tiktrue_keys.cli.escrows import escrow_json, escrow_rows
from tiktrue_keys.cli.session import Session
from tiktrue_keys.recovery.escrow import the_escrow


def command(ctx: typer.Context) -> Outcome:
    """Show the escrow: how many shares it has, and when they were last verified."""
    session: Session = ctx.obj
    escrow = the_escrow(session.manager)
    return Outcome(result=escrow_json(escrow), view=[Fields(escrow_rows(escrow))], ids=[str(escrow.number)])
