"""`rekey`: renews the root secret of the keystore."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.bound_ways import name_of
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import REPEATED, Block, Line, Outcome
from tiktrue_keys.core.keystore.slots import MACHINE
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.rekey import RekeyResult

EXAMPLES = (
    ("Show what would be renewed, and which old copies there are:", "tiktrue-keys rekey --dry-run"),
    ("After an intrusion, without being asked:", "tiktrue-keys rekey --compromised --yes"),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Say that others may know the present root secret.")
    ] = False,
    new_host_secret: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File for the new host secret (default: KEYSTORE_ID.secret beside the one in use).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be renewed, and change nothing.")
    ] = False,
) -> Outcome:
    """Renew the root secret that seals the keystore.

    Draws a new root secret and a new host secret for this keystore alone, seals every record again, and begins a new
    epoch. What opened the keystore before opens nothing that is written from then on: neither the old host secret nor
    the escrow's shares. Older copies still open with them, and are listed. Asks first. Reads no license. A device that
    opens the keystore seals a new secret.

    Managed keys stay as they are, so that every model goes on opening. After an intrusion they are known too: the
    command ends with the commands that replace them. Nodes have to accept the new epoch.
    """
    context: CommandContext = ctx.obj
    path = None if new_host_secret is None else Path(new_host_secret)
    plan = context.manager.rekey(
        compromised=compromised, new_host_secret=path, dry_run=True, operation_id=context.operation_id
    )
    if dry_run or not plan.dry_run:  # not a plan: what this operation id did the first time
        return rekey_outcome(context, plan)
    context.confirm(f"Renew the root secret? {consequences(plan)}")
    context.settle()
    done = context.manager.rekey(compromised=compromised, new_host_secret=path, operation_id=context.operation_id)
    return rekey_outcome(context, done)


def consequences(plan: RekeyResult) -> str:
    """Return what a rekey ends and leaves, for a question."""
    parts = [f"{plural(plan.keys, 'key')} stay as they are" if plan.keys != 1 else "1 key stays as it is"]
    if plan.nodes:
        parts.append(f"{plural(plan.nodes, 'node')} will have to accept a new epoch")
    if plan.had_escrow:
        parts.append("the escrow ends")
    if plan.old_copies:
        parts.append(f"older copies go on opening with the old root: {', '.join(map(str, plan.old_copies))}")
    return "; ".join(parts) + "."


def rekey_outcome(context: CommandContext, done: RekeyResult) -> Outcome:
    """Return what a rekey has done, with the commands that are left to run."""
    copies = [str(path) for path in done.old_copies]
    steps = _next_steps(context, done) if done.changed or done.dry_run else []
    view: list[Block] = [Line(f"{number}. {command}: {reason}") for number, (command, reason) in enumerate(steps, 1)]
    return Outcome(
        result={
            "dry_run": done.dry_run,
            "compromised": done.compromised,
            "epoch": done.epoch,
            "host_secret": str(done.host_secret or ""),
            "ways": [name_of(way) for way in done.ways],
            "keys": done.keys,
            "machine_keys": done.machine_keys,
            "escrow_ended": done.had_escrow,
            "old_copies": copies,
            "next": [{"command": command, "reason": reason} for command, reason in steps],
        },
        view=view,
        messages=[_message(done)],
        ids=[],
        changed=done.changed,
        operation_id=None if done.dry_run else done.operation_id,
        warnings=list(done.warnings),
    )


def _message(done: RekeyResult) -> str:
    host = f"the host secret {escaped(str(done.host_secret))}"
    ways = " or ".join(host if way == MACHINE else way for way in done.ways)
    if done.dry_run:
        return f"Would begin epoch {done.epoch} under a new root, which opens by {ways}; nothing was changed."
    return f"Began epoch {done.epoch} under a new root; it opens by {ways}." if done.changed else REPEATED


def _next_steps(context: CommandContext, done: RekeyResult) -> list[tuple[str, str]]:
    """Return the commands that are left to run, in their order, each with its reason."""
    steps = []
    if done.keys > done.machine_keys:
        steps.append(
            (
                "tiktrue-keys relicense --old-license-file OLD --license-file NEW",
                "a license that an intruder knows opens the keys that it protects",
            )
        )
    if done.keys:
        steps.append(("tiktrue-keys rotate --all", f"{plural(done.keys, 'key')} older than the new root"))
    containers = context.manager.containers() if done.keys else ()
    steps += [
        (f"tiktrue-keys reencrypt-model {shlex.quote(path)}", "its data key is older than the new root")
        for path in dict.fromkeys(each.path for each in containers if each.path)
    ]
    if done.had_escrow:
        steps.append(("tiktrue-keys escrow create", "the shares of the old escrow open older copies only"))
    steps.append(("tiktrue-keys backup FILE", "no backup holds the keystore under its new root"))
    return steps
