"""`doctor`: every read-only check, and the confirmation of the clock."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated

import typer

from tiktrue_keys.cli.checks.check import Check
from tiktrue_keys.cli.checks.keystore import keystore_checks, worst_state
from tiktrue_keys.cli.checks.machine import machine_checks
from tiktrue_keys.cli.checks.storage import keystore_folder_checks
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import worst
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.outcome import Line, Outcome, Table
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keystore.clock import lag
from tiktrue_keys.core.operations.standing_notices import clock_notice

EXAMPLES = (
    ("Run every check:", "tiktrue-keys doctor"),
    ("Confirm the clock after a long time without a record:", "tiktrue-keys doctor --accept-clock --yes"),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    accept_clock: Annotated[
        bool,
        typer.Option(
            "--accept-clock",
            help="Confirm that the clock is right after a long silence, a jump or a heartbeat ahead of it; recorded.",
        ),
    ] = False,
) -> Outcome:
    """Run every read-only check.

    Checks permissions, every row of the keystore, the audit log, the clock, scheduled runs, memory locking, core dumps,
    swap, the host secret's location, free space, the reserve, and leftover files. Changes nothing and reads no license.
    A warning leaves the exit code at 0; a failed check sets it, and of several the worst, in the order 4, 13, 8, 9, 10,
    11, 12, 5.
    """
    context: CommandContext = ctx.obj
    if accept_clock:
        return _accept_clock(context)
    findings = [
        *keystore_folder_checks(context.keystore),
        *keystore_checks(context.manager),
        *machine_checks(),
    ]
    counts = Counter(finding.state.value for finding in findings)
    return Outcome(
        result={"state": worst_state(findings).value, "checks": [_json(finding) for finding in findings]},
        view=[
            Table(
                ("check", "state", "detail"),
                [(each.check, each.state.value, each.detail) for each in findings],
                prose=("detail",),
            )
        ],
        messages=[", ".join(f"{count} {state}" for state, count in counts.items())],
        ids=[],
        error=worst(finding.error for finding in findings if finding.error is not None),
    )


def _json(finding: Check) -> dict[str, object]:
    return {
        "check": finding.check,
        "state": finding.state.value,
        "detail": finding.detail,
        "error": None if finding.error is None else error_json(finding.error),
    }


def _accept_clock(context: CommandContext) -> Outcome:
    now = rfc3339(int(time.time()))
    context.confirm(f"The clock shows {now}. Is that correct?")
    context.manager.accept_clock(operation_id=context.operation_id)
    return Outcome(
        result={"accepted": now},
        view=[Line(f"accepted: {now}")],
        changed=True,
        operation_id=context.operation_id,
        warnings=clock_notice(lag(context.manager.clock_reading())),
    )
