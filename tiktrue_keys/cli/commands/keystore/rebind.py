"""`rebind`: seals the keystore to the machine as it is now."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.binding import binding_json, drift_json
from tiktrue_keys.cli.view.drift import drift_notices, drift_table
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome
from tiktrue_keys.core.operations.rebind import Rebound


def command(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be sealed; no license.")] = False,
) -> Outcome:
    """Seal the keystore to the machine as it is now.

    After a part was replaced, while the others still open the keystore: all changed facts at once, and facts that came
    in addition. A fact that is missing stays in the binding, for this user may merely not be able to read it. Reads a
    license, where the keystore knows one. Keys and containers stay as they are.
    """
    context: CommandContext = ctx.obj
    if dry_run:
        return _outcome(context, context.manager.rebind(dry_run=True))
    # A keystore of --no-license keys knows no license: one from the environment would be the wrong one.
    keys = context.writer.keys()
    licensed = any(key.license_tag is not None for key in keys)
    license_key = context.license() if licensed else None
    return _outcome(context, context.manager.rebind(license_key, operation_id=context.operation_id))


def _outcome(context: CommandContext, rebound: Rebound) -> Outcome:
    differing = rebound.drift.missing if rebound.changed else (*rebound.drift.changed, *rebound.drift.missing)
    plain = context.options.verbose
    return Outcome(
        result={
            "dry_run": rebound.dry_run,
            "before": binding_json(rebound.before),
            "after": binding_json(rebound.after),
            "drift": drift_json(rebound.drift),
        },
        view=[drift_table(("before", "after"), rebound.before, rebound.after, rebound.drift, plain=plain)],
        messages=[_message(rebound)],
        ids=[],
        changed=rebound.changed,
        operation_id=None if rebound.dry_run else rebound.operation_id,
        warnings=[*rebound.warnings, *drift_notices(differing)],
    )


def _message(rebound: Rebound) -> str:
    if rebound.after != rebound.before and not (rebound.changed or rebound.dry_run):
        return REPEATED
    if rebound.after == rebound.before:
        return "nothing to do: no fact has another value than the sealed one"
    facts = f"{len(rebound.after.anchors)} facts, {rebound.after.machine_borne} of them machine-borne"
    return f"would seal to {facts}; nothing was changed" if rebound.dry_run else f"sealed to {facts}"
