"""`cleanup`: marks keys that nothing needs, and destroys those marked long enough ago."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import item_json
from tiktrue_keys.cli.view.hints import reason_of
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keys.key_results import Kept
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DESTROY_AFTER, ManagedKey
from tiktrue_keys.core.operations.results import CleanupResult
from tiktrue_keys.errors import RefusedError, UsageError


def command(
    ctx: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY_ID", help="Look at these keys only.")] = None,
    after: Annotated[str | None, typer.Option(metavar="DURATION", help="From mark to destruction (30d).")] = None,
    cancel: Annotated[
        list[str] | None, typer.Option(metavar="KEY_ID", help="Take the mark off; may be repeated.")
    ] = None,
    confirm: Annotated[
        list[str] | None, typer.Option(metavar="KEY_ID", help="Destroy although uses may be unknown; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done.")] = False,
) -> Outcome:
    """Mark and destroy keys that nothing needs any more.

    Candidates are deprecated keys past decrypt-until, expired and revoked ones. The first run marks them, a run after
    the delay destroys them for good. A key that a registered container needs is kept, and listed with the reason; so is
    one that a node holds and has not heard the end of.
    """
    from tiktrue_keys.models.registry.containers import HeaderReader

    context: CommandContext = ctx.obj
    if not dry_run:
        context.settle()
    cleanup = partial(
        context.manager.cleanup,
        keys or (),
        after=context.duration(after, "cleanup.after", DEFAULT_DESTROY_AFTER),
        cancel=tuple(cancel or ()),
        confirm=tuple(confirm or ()),
        wraps_in=HeaderReader().wraps_in,
    )
    if not cancel:
        plan = cleanup(dry_run=True, operation_id=context.operation_id)
        if dry_run or not plan.dry_run:  # not a plan: what this operation id did the first time
            return _outcome(context, plan, named=bool(keys))
        if plan.marked or plan.destroyed:
            context.confirm(f"Mark {len(plan.marked)} keys for destruction and destroy {len(plan.destroyed)} for good?")
    elif dry_run:
        raise UsageError("--dry-run does not go with --cancel")
    return _outcome(context, cleanup(operation_id=context.operation_id), named=bool(keys))


def _outcome(context: CommandContext, cleaned: CleanupResult, *, named: bool) -> Outcome:
    done = {
        "marked": [(key, _when(key)) for key in cleaned.marked],
        "destroyed": [(key, "") for key in cleaned.destroyed],
        "cancelled": [(key, "") for key in cleaned.cancelled],
        "kept": [(kept.key, reason_of(kept)) for kept in cleaned.kept],
    }
    listed = [(outcome, key, detail) for outcome, pairs in done.items() for key, detail in pairs]
    refused = [kept for kept in cleaned.kept if named]
    return Outcome(
        result={
            "dry_run": cleaned.dry_run,
            "keys": keys_json(context.manager, [key for _, key, _ in listed]),
            "items": [item_json(key.key_id, outcome) | {"reason": detail or None} for outcome, key, detail in listed],
        },
        view=[Table(("key", "outcome", "why"), [(key.key_id, outcome, detail) for outcome, key, detail in listed])]
        if listed
        else [],
        messages=[] if listed else ["nothing to clean up"],
        ids=[key.key_id for outcome, key, _ in listed if outcome != "kept"],
        changed=cleaned.changed,
        operation_id=cleaned.operation_id,
        warnings=cleaned.warnings,
        error=_refused(refused[0]) if refused else None,
    )


def _refused(kept: Kept) -> RefusedError:
    about = {**kept.about, "key_id": kept.key.key_id}
    return RefusedError(f"key {kept.key.key_id} is kept: {kept.reason}", remedy=kept.remedy, about=about)


def _when(key: ManagedKey) -> str:
    """From when on a marked key is destroyed; nothing in a dry run."""
    return f"destroyed after {rfc3339(key.destroy_at)}" if key.destroy_at is not None else ""
