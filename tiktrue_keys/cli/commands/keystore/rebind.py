"""`rebind`: seals the keystore to the machine as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.cli.view.binding import binding_json, drift_json
from tiktrue_keys.cli.view.drift import drift_notices, drift_table
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome
from tiktrue_keys.core.audit.checkpoint import NOTE_LIMIT
from tiktrue_keys.core.fingerprint import strength
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.rebind import Rebound
from tiktrue_keys.errors import UsageError

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
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACT=NEW",
            help="Open with the part that has NEW too, and only with it once it is there (repeatable).",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Checkpoint kept elsewhere: only replaces a lost mark, if the log extends it; reads no license.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be sealed, and change nothing; reads no license.")
    ] = False,
) -> Outcome:
    """Seal the keystore to this machine as it is now.

    Run it after a part was replaced, while the other facts still open the keystore. It seals to all changed facts, and
    to facts that were added. A missing fact stays in the binding, because this user may only lack permission to read
    it. Reads a license if the keystore has licensed keys. Keys and containers do not change.

    It also records where host secret and marks are now, after they were moved and named by --host-secret, --marks or
    the environment. Where every high-water mark of the keystore is lost, it writes a new one: with the license, or
    without one --against a checkpoint that was kept elsewhere. The checkpoint proves only that the log extends it, not
    that no later record was lost: use the newest one. A new epoch begins, which nodes must accept, as after a restore.
    Where the policy requires approvals for the binding, restore a backup instead.

    Before a planned repair --drop leaves a fact out, so that the keystore opens with the new part; the next rebind
    takes the new one in. It asks where no fact may change any more afterwards. If the number of the new part is known,
    --replace names it: the keystore opens with the old part and with the new one, and the first command that writes
    with the new one in place seals to it. A rebind before that undoes it.
    """
    context: CommandContext = ctx.obj
    if against is not None:
        return _outcome(context, _replace_mark(context, Path(against), [*(drop or ()), *(replace or ())], dry_run))
    if dry_run:
        return _outcome(context, context.manager.rebind(drop=drop or (), replace=replace or (), dry_run=True))
    if drop:
        _confirm_drop(context, drop, replace or ())
    license_key = context.license() if _is_licensed(context) else None
    done = context.manager.rebind(
        license_key, drop=drop or (), replace=replace or (), operation_id=context.operation_id
    )
    return _outcome(context, done)


def _is_licensed(context: CommandContext) -> bool:
    """A keystore of --no-license keys knows no license: one from the environment would be the wrong one."""
    with context.manager.session.accepting_lost_marks():
        keys = context.manager.keys()
        return any(key.license_tag is not None for key in keys)


def _replace_mark(context: CommandContext, path: Path, facts: list[str], dry_run: bool) -> Rebound:
    if facts:
        raise UsageError("--against changes no binding", "use it alone, then run rebind again")
    note = read_trusted(path, limit=NOTE_LIMIT, what="checkpoint").data
    return context.manager.rebind(against=note, dry_run=dry_run, operation_id=context.operation_id)


def _confirm_drop(context: CommandContext, drop: list[str], replace: Sequence[str]) -> None:
    """Ask where the binding has no spare, or no fact of the hardware, without the dropped facts."""
    planned = context.manager.rebind(drop=drop, replace=replace, dry_run=True)
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
            "replacing": [kind.value for kind in rebound.replacing],
            "host_secret": _path(rebound.moved.host_secret),
            "marks": _path(rebound.moved.marks),
            "replaced_mark": rebound.replaced_mark,
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
    said = [_sealed(rebound), _awaited(rebound), _kept(rebound)]
    return " ".join(filter(None, said)) or "Nothing to do: no fact has changed."


def _sealed(rebound: Rebound) -> str:
    if rebound.after == rebound.before:
        return ""
    facts = f"{plural(len(rebound.after.anchors), 'fact')}, {rebound.after.machine_borne} of them machine-borne"
    return f"Would seal to {facts}; nothing was changed." if rebound.dry_run else f"Sealed to {facts}."


def _awaited(rebound: Rebound) -> str:
    awaited, undone = (", ".join(kind.value for kind in kinds) for kinds in (rebound.replacing, rebound.undone))
    if undone:
        return f"{'Would open' if rebound.dry_run else 'Opens'} with the old {undone} alone again."
    if not awaited:
        return ""
    opens = "Would open" if rebound.dry_run else "Opens"
    return f"{opens} with the old {awaited} and with the new one, until the new one is there."


def _kept(rebound: Rebound) -> str:
    """What is recorded of host secret and marks, in words."""
    done = []
    if rebound.moved.host_secret is not None:
        done.append(f"record the host secret at {escaped(str(rebound.moved.host_secret))}")
    if rebound.moved.marks is not None:
        done.append(f"record the marks in {escaped(str(rebound.moved.marks))}")
    done += ["replace the lost high-water mark"] * rebound.replaced_mark
    if not done:
        return ""
    return f"Would {' and '.join(done)}; nothing was changed." if rebound.dry_run else f"Done: {' and '.join(done)}."


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
