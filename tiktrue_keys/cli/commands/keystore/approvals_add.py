"""`approvals add`: an approver's signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.approval_plans import plan_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.approvals.ssh_signatures import SIGNATURE_LIMIT
from tiktrue_keys.core.durable import ANOTHER_FILE, read_capped

EXAMPLES = (
    ("Add a signature:", "tiktrue-keys approvals add plan.txt.sig"),
    ("The same, printing the plan as JSON:", "tiktrue-keys approvals add plan.txt.sig --json"),
)
EXIT_STATUS = {
    4: "The signature is malformed, or signs no plan of this keystore.",
    5: "Its key is not an approver's, its security key was not touched, or its plan is closed.",
    12: "/usr/bin/ssh-keygen is missing or does not work.",
}


def command(
    ctx: typer.Context,
    signature: Annotated[
        str, typer.Argument(metavar="FILE", help="Signature that ssh-keygen -Y sign wrote: FILE.sig.")
    ],
) -> Outcome:
    """Add an approver's signature to the plan that it signs.

    The signature tells which plan that is. ssh-keygen(1) verifies it with the keys of the policy alone. Keys count, not
    names: a second signature by one key changes nothing, and a certificate is refused. A security key must have been
    touched. Reads no license.
    """
    context: CommandContext = ctx.obj
    data = read_capped(Path(signature), SIGNATURE_LIMIT, "the signature", hint=ANOTHER_FILE)
    added = context.writer.add_approval(data, operation_id=context.operation_id)
    standing = added.standing
    number, missing = standing.plan.number, standing.needed - len(standing.signed)
    what = f"approval {number}: {len(standing.signed)} of {standing.needed} signatures"
    return Outcome(
        result={"approver": added.approver, **plan_json(standing)},
        view=[Line(what)],
        messages=[_next(number, missing) if added.changed else _unchanged(added.approver, context.operation_id)],
        ids=[str(number)],
        changed=added.changed,
        operation_id=added.operation_id,
        warnings=added.warnings,
    )


def _next(number: int, missing: int) -> str:
    if missing > 0:
        return f"{missing} more to come."
    return f"Run the command again with --approval {number}."


def _unchanged(approver: str, operation_id: str | None) -> str:
    return REPEATED if operation_id else f"Nothing to do: the key of {approver} has signed already."
