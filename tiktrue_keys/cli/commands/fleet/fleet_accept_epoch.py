"""`fleet accept-epoch`: accepts the new epoch of an issuer whose keystore was restored."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome
from tiktrue_keys.fleet.epochs import accept_epoch

EXAMPLES = (
    (
        "Accept an epoch by the head that fleet status shows at the issuer:",
        'tiktrue-keys fleet accept-epoch head-office --expect "$HEAD"',
    ),
    ("The same, printing the result as JSON:", 'tiktrue-keys fleet accept-epoch head-office --json --expect "$HEAD"'),
)


def command(
    ctx: typer.Context,
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="Name or node id.")],
    expect: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Head that fleet status shows at the issuer, 64 hex digits (required)."),
    ] = None,
) -> Outcome:
    """Accept an issuer's new epoch, after its keystore was restored.

    A restored issuer has forgotten what came after its backup, so nodes refuse what it sends until this command was
    run. Ask the issuer's administrator for the head over another channel than the one that carries the envelopes.
    """
    from tiktrue_keys.errors import UsageError

    context: CommandContext = ctx.obj
    if expect is None:
        raise UsageError("no head to compare with", "add --expect HEX, the head that fleet status shows at the issuer")
    accepted = accept_epoch(context.writer, issuer, expect=expect, operation_id=context.operation_id)
    return Outcome(
        result={"node_id": accepted.issuer.node_id, "epoch": accepted.epoch, "head": accepted.head},
        messages=[
            f"Accepted epoch {accepted.epoch} of '{accepted.issuer.name}'; next, run tiktrue-keys fleet receive"
            if accepted.changed
            else REPEATED
        ],
        ids=[accepted.issuer.node_id],
        changed=accepted.changed,
        operation_id=accepted.operation_id,
    )
