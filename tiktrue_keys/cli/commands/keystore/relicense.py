"""`relicense`: moves the keys of one license to another."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.license import LicenseSource
from tiktrue_keys.cli.view.batches import item_json
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import REPEATED, Block, Outcome, Table
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.relicense import Relicensed

EXAMPLES = (
    ("Show which keys would move:", "tiktrue-keys relicense --old-license-file old --license-file new --dry-run"),
    ("Move them without being asked:", "tiktrue-keys relicense --old-license-file old --license-file new --yes"),
)


def command(
    ctx: typer.Context,
    old_license_file: Annotated[
        str,
        typer.Option(
            "--old-license-file",
            metavar="FILE|-",
            help="File with the license to replace, or - for standard input (required).",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show which keys would move, and change nothing.")
    ] = False,
) -> Outcome:
    """Move every key of one license to another.

    Reads both licenses: the old one from --old-license-file, the new one where every command looks for the license.
    Asks first. All keys move in one transaction; afterwards the old license opens none of them and is forgotten. The
    keys themselves do not change, so no container has to be rewrapped.
    """
    context: CommandContext = ctx.obj
    old = LicenseSource(old_license_file, {}, None, context.warn)
    if old.reads_stdin():
        context.claim_stdin("the old license")
    relicense = partial(context.manager.relicense, old.read, context.license(twice=True))
    plan = relicense(dry_run=True, operation_id=context.operation_id)
    if dry_run or not plan.dry_run:  # not a plan: what this operation id did the first time
        return _outcome(context, plan)
    context.confirm(
        f"Move {_counted(plan)} from license {plan.old_license_tag} to the new one, and forget the old one?"
    )
    context.settle()
    return _outcome(context, relicense(operation_id=context.operation_id))


def _counted(plan: Relicensed) -> str:
    return plural(len(plan.keys), "key")


def _outcome(context: CommandContext, done: Relicensed) -> Outcome:
    outcome = "planned" if done.dry_run else "relicensed"
    keys = sorted(done.keys, key=lambda key: (key.model_id, key.generation, key.key_id))
    rows = [(key.key_id, key.status.value, outcome) for key in keys]
    view: list[Block] = [Table(("key", "status", "outcome"), rows)] if rows else []
    return Outcome(
        result={
            "dry_run": done.dry_run,
            "keys": keys_json(context.manager, keys),
            "items": [item_json(key.key_id, outcome) for key in keys],
            "old_license_tag": done.old_license_tag,
            "new_license_tag": done.new_license_tag or None,
        },
        view=view,
        messages=[_message(done)],
        ids=[key.key_id for key in keys],
        changed=done.changed,
        operation_id=None if done.dry_run else done.operation_id,
        warnings=done.warnings,
    )


def _message(done: Relicensed) -> str:
    if done.dry_run:
        return f"{_counted(done)} of license {done.old_license_tag} would move; nothing was changed."
    if not done.changed:
        return REPEATED
    return f"Moved {_counted(done)} from license {done.old_license_tag} to license {done.new_license_tag}"
