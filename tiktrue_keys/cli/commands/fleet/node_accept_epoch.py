"""`node accept-epoch`: goes on with an issuer that was restored."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome
from tiktrue_keys.fleet.epochs import EpochAccepted, accept_epoch


def command(
    ctx: typer.Context,
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="A name or node id.")],
    expect: Annotated[
        str | None, typer.Option(metavar="HEAD", help="The head that node status shows at the issuer. Required.")
    ] = None,
) -> Outcome:
    """Accept an issuer's new epoch, after its keystore was restored.

    A restore forgets what came after the backup, so that nodes refuse what the issuer sends until somebody has asked
    its administrator. HEAD comes from there, by another way than the envelopes.
    """
    from tiktrue_keys.errors import UsageError

    context: CommandContext = ctx.obj
    if expect is None:
        raise UsageError("say which head the epoch began with", "give --expect HEAD, as node status shows it there")
    accepted = accept_epoch(context.writer, issuer, expect=expect, operation_id=context.operation_id)
    return Outcome(
        result={"node_id": accepted.issuer.node_id, "epoch": accepted.epoch, "head": accepted.head},
        messages=[_message(accepted) if accepted.changed else REPEATED],
        ids=[accepted.issuer.node_id],
        changed=accepted.changed,
        operation_id=accepted.operation_id,
    )


def _message(accepted: EpochAccepted) -> str:
    return f"epoch {accepted.epoch} of '{accepted.issuer.name}' is accepted; run receive"
