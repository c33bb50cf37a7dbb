"""`cleanup`: marks keys that nothing needs, and destroys those that were marked before."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import item_json
from tiktrue_keys.cli.view.hints import reason_of
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome, Table
from tiktrue_keys.core.instants import duration_text, rfc3339
from tiktrue_keys.core.keys.key_results import Kept
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DESTROY_AFTER, ManagedKey
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.results import CleanupResult
from tiktrue_keys.errors import RefusedError, UsageError

EXAMPLES = (
    ("Show which keys would be marked or destroyed:", "tiktrue-keys cleanup --dry-run"),
    ("Mark keys that a run after 60 days may destroy:", "tiktrue-keys cleanup --after 60d --yes"),
)
EXIT_STATUS = {5: "A named key is kept, or the clock is doubtful."}
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY_ID", help="Key ids to consider (default: all keys).")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help=f"Delay between marking and destroying (default: {duration_text(DEFAULT_DESTROY_AFTER)}).",
        ),
    ] = None,
    cancel: Annotated[list[str] | None, typer.Option(metavar="KEY_ID", help="Unmark KEY_ID (repeatable).")] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY_ID", help="Destroy KEY_ID although it may have unknown uses (repeatable)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be done, and change nothing.")
    ] = False,
) -> Outcome:
    """Mark keys that nothing needs, and destroy those marked before.

    Candidates are deprecated keys past their decrypt-until, expired keys and revoked keys. One run marks them; a run
    after the delay destroys them permanently. A key is kept, and listed with the reason, while a registered container
    needs it, or while a node holds it and has not acknowledged its successor or its revocation.
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
            context.confirm(
                f"Mark {plural(len(plan.marked), 'key')} for destruction, and destroy"
                f" {plural(len(plan.destroyed), 'key')} permanently?"
            )
    elif dry_run:
        raise UsageError("--dry-run and --cancel exclude each other", "omit one of the two")
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
        view=[Table(("key", "outcome", "reason"), [_row(cleaned, *each) for each in listed], prose=("reason",))]
        if listed
        else [],
        messages=_messages(cleaned, is_empty=not listed),
        ids=[key.key_id for outcome, key, _ in listed if outcome != "kept"],
        changed=cleaned.changed,
        operation_id=cleaned.operation_id,
        warnings=cleaned.warnings,
        error=_refused(refused[0]) if refused else None,
    )


def _row(cleaned: CleanupResult, outcome: str, key: ManagedKey, detail: str) -> tuple[str, str, str]:
    is_planned = cleaned.dry_run and outcome != "kept"
    return key.key_id, f"would be {outcome}" if is_planned else outcome, detail


def _messages(cleaned: CleanupResult, *, is_empty: bool) -> list[str]:
    if is_empty:
        return ["Nothing to clean up."]
    is_repeated = not (cleaned.changed or cleaned.dry_run) and (
        cleaned.marked or cleaned.destroyed or cleaned.cancelled
    )
    return [REPEATED] if is_repeated else []


def _refused(kept: Kept) -> RefusedError:
    about = {**kept.about, "key_id": kept.key.key_id}
    return RefusedError(f"key {kept.key.key_id} is kept: {kept.reason}", remedy=kept.remedy, about=about)


def _when(key: ManagedKey) -> str:
    """When a marked key may be destroyed; empty in a dry run."""
    return f"destroyed after {rfc3339(key.destroy_at)}" if key.destroy_at is not None else ""
