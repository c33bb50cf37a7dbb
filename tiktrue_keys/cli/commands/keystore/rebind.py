"""`rebind`: seals the keystore to the machine as it is now."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.binding import binding_json, drift_json
from tiktrue_keys.cli.view.drift import drift_notices, drift_table
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome
from tiktrue_keys.core.fingerprint import strength
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.rebind import Rebound

EXAMPLES = (
    ("Show what would be sealed:", "tiktrue-keys rebind --dry-run"),
    ("Seal to the facts of the present machine:", "tiktrue-keys rebind"),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="FACT", help="Leave FACT out of the binding before its part is replaced (repeatable)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be sealed, and change nothing; reads no license.")
    ] = False,
) -> Outcome:
    """Seal the keystore to this machine as it is now.

    Run it after a part was replaced, while the other facts still open the keystore. It seals to all changed facts, and
    to facts that were added. A missing fact stays in the binding, because this user may only lack permission to read
    it. Reads a license if the keystore has licensed keys. Keys and containers do not change.

    It also records the path of the host secret in use, after the secret was moved and named by --host-secret or the
    environment.

    Before a planned repair --drop leaves a fact out, so that the keystore opens with the new part; the next rebind
    takes the new one in. It asks where no fact may change any more afterwards.
    """
    context: CommandContext = ctx.obj
    if dry_run:
        return _outcome(context, context.manager.rebind(drop=drop or (), dry_run=True))
    if drop:
        _confirm_drop(context, drop)
    # A keystore of --no-license keys knows no license: one from the environment would be the wrong one.
    keys = context.writer.keys()
    licensed = any(key.license_tag is not None for key in keys)
    license_key = context.license() if licensed else None
    return _outcome(context, context.manager.rebind(license_key, drop=drop or (), operation_id=context.operation_id))


def _confirm_drop(context: CommandContext, drop: list[str]) -> None:
    """Ask where the binding has no spare, or no fact of the hardware, without the dropped facts."""
    planned = context.manager.rebind(drop=drop, dry_run=True)
    if (planned.before.has_spare and not planned.after.has_spare) or planned.after.weak:
        context.confirm(f"Without {', '.join(drop)}: {strength(planned.after)}. Leave it out?")


def _outcome(context: CommandContext, rebound: Rebound) -> Outcome:
    differing = rebound.drift.missing if rebound.changed else (*rebound.drift.changed, *rebound.drift.missing)
    plain = context.options.verbose
    return Outcome(
        result={
            "dry_run": rebound.dry_run,
            "before": binding_json(rebound.before),
            "after": binding_json(rebound.after),
            "drift": drift_json(rebound.drift),
            "host_secret": None if rebound.moved_to is None else str(rebound.moved_to),
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
        return _moved(rebound) or "Nothing to do: no fact has changed."
    facts = f"{plural(len(rebound.after.anchors), 'fact')}, {rebound.after.machine_borne} of them machine-borne"
    if rebound.dry_run:
        return f"Would seal to {facts}; nothing was changed."
    return " ".join([f"Sealed to {facts}.", *filter(None, [_moved(rebound)])])


def _moved(rebound: Rebound) -> str:
    if rebound.moved_to is None:
        return ""
    path = escaped(str(rebound.moved_to))
    return f"Would record the host secret at {path}." if rebound.dry_run else f"Recorded the host secret at {path}."
