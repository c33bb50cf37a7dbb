"""`backup`: a copy of the keystore, for when the file, its disk or (with an escrow) the machine is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.audit_to import AuditTo, recording_manager
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.backup import BackedUp
from tiktrue_keys.core.operations.retention import DEFAULT_KEEP
from tiktrue_keys.errors import UsageError

EXAMPLES = (
    ("Copy the keystore to another disk:", "tiktrue-keys backup /mnt/backup/keystore.db"),
    ("Add a copy to a folder and remove old ones, from cron:", "tiktrue-keys backup --to /mnt/backup --quiet"),
)


def command(
    ctx: typer.Context,
    destination: Annotated[str | None, typer.Argument(metavar="FILE", help="File to write.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DIR", help="Folder to add a copy to, under a name of its own.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N", help=f"With --to: keep one copy a day for N days, then one a week (default: {DEFAULT_KEEP})."
        ),
    ] = None,
    audit_to: AuditTo = None,
) -> Outcome:
    """Copy the keystore, for restore or escrow recover.

    The copy does not contain the host secret: store the two apart, so that a thief does not get both. Without the host
    secret and this machine's facts the copy does not open, unless it holds an escrow whose shares are there. Keep it on
    another disk. Reads no license; other commands may run at the same time. restore puts the copy back on this machine,
    escrow recover on another one. With --to, older copies of this keystore in the folder are removed once the new one
    opens: one a day is kept for N days, then one a week for five weeks. A copy that holds records which the new one
    lacks stays: a restore has left them behind, and its keys may be nowhere else.
    """
    context: CommandContext = ctx.obj
    if (destination is None) == (to is None):
        raise UsageError("give either FILE or --to DIR", "name the file to write, or a folder")
    if keep is not None and to is None:
        raise UsageError("--keep needs --to", "add --to DIR")
    if force and to is not None:
        raise UsageError("--force is for FILE", "omit it: --to never replaces a copy")
    if destination in ("", "-"):
        raise UsageError("a backup cannot be written to standard output", "give the name of a file")
    if to is not None:
        made = context.writer.backup_to(
            to, keep=DEFAULT_KEEP if keep is None else keep, operation_id=context.operation_id
        )
    else:
        manager = recording_manager(context, audit_to)
        made = manager.backup(Path(destination or ""), force=force, operation_id=context.operation_id)
    return Outcome(
        result=backup_json(context, made),
        view=[Line(str(made.path))],
        messages=_messages(context, made),
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=[*made.warnings, *disk_notices(context, made)],
    )


def backup_json(context: CommandContext, made: BackedUp) -> dict[str, Any]:
    """Return a copy as the member of a result."""
    return {
        "path": str(made.path),
        "bytes": os.stat(made.path).st_size,
        "audit_size": made.audit_size,
        "host_secret": _host_secret(context),
        "same_disk": _same_disk(made.path, context.keystore),
        "removed": [str(path) for path in made.removed],
    }


def disk_notices(context: CommandContext, made: BackedUp) -> list[Notice]:
    """Return the warning about a copy on the disk of the keystore."""
    if not _same_disk(made.path, context.keystore):
        return []
    words = f"{made.path} is on the same file system as the keystore: a failed disk destroys both"
    return [Notice("same-disk", words)]


def _messages(context: CommandContext, made: BackedUp) -> list[str]:
    copied = f"Copied the keystore with its {plural(made.audit_size, 'audit record')}."
    secret = _host_secret(context)
    return [
        copied if made.changed else REPEATED,
        *([f"Removed {plural(len(made.removed), 'older backup')}."] * bool(made.removed)),
        f"It opens on this machine with the host secret {secret}, which is not in it: store the two apart.",
        *(["With the shares of its escrow it also opens elsewhere: escrow recover."] * made.holds_escrow),
    ]


def _host_secret(context: CommandContext) -> str:
    return str(context.manager.host_secret_path())


def _same_disk(copy: Path, keystore: Path) -> bool:
    return os.stat(copy).st_dev == os.stat(keystore).st_dev
