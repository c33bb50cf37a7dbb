"""`approvals list`: the plans and their signatures."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.approval_plans import plan_json, plan_row
from tiktrue_keys.cli.view.outcome import Outcome, Table

EXAMPLES = (
    ("List the plans:", "tiktrue-keys approvals list"),
    ("Print them as JSON, with what each is about:", "tiktrue-keys approvals list --json"),
)
_COLUMNS = ("id", "state", "operation", "signed", "expires", "subject")


def command(ctx: typer.Context) -> Outcome:
    """List the operations that wait for approval.

    Open plans wait for signatures; approved ones for their command. Used, expired and void ones stay listed for 30
    days; void means that something changed that the plan rests on. Reads no license.
    """
    context: CommandContext = ctx.obj
    found = context.manager.approvals()
    return Outcome(
        result={"approvals": [plan_json(each) for each in found]},
        view=[Table(_COLUMNS, [plan_row(each) for each in found], prose=("subject",))] if found else [],
        messages=[] if found else ["No plans."],
        ids=[str(each.plan.number) for each in found if each.state in ("open", "approved")],
    )
