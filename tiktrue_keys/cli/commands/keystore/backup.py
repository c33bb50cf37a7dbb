"""`backup`: a copy of the keystore, for when the file, its disk or (with an escrow) the machine is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.errors import UsageError

EXAMPLES = (
    ("Copy the keystore to another disk:", "tiktrue-keys backup /mnt/backup/keystore.db"),
    ("Replace the copy, from cron:", "tiktrue-keys backup /mnt/backup/keystore.db --force --quiet"),
)


def command(
    ctx: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="FILE", help="File to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> Outcome:
    """Copy the keystore to a file, for restore or escrow recover.

    The copy does not contain the host secret: store the two apart, so that a thief does not get both. Without the host
    secret and this machine's facts the copy does not open, unless it holds an escrow whose shares are there. Keep it on
    another disk. Reads no license; other commands may run at the same time. restore puts the copy back on this machine,
    escrow recover on another one.
    """
    context: CommandContext = ctx.obj
    if destination in ("", "-"):
        raise UsageError("a backup cannot be written to standard output", "give the name of a file")
    made = context.writer.backup(Path(destination), force=force, operation_id=context.operation_id)
    secret = str(context.manager.host_secret_path())
    same_disk = _same_disk(made.path, context.keystore)
    copied = f"Copied the keystore with its {plural(made.audit_size, 'audit record')}."
    return Outcome(
        result={
            "path": str(made.path),
            "bytes": os.stat(made.path).st_size,
            "audit_size": made.audit_size,
            "host_secret": secret,
            "same_disk": same_disk,
        },
        view=[Line(str(made.path))],
        messages=[
            copied if made.changed else REPEATED,
            f"It opens on this machine with the host secret {secret}, which is not in it: store the two apart.",
            *(["With the shares of its escrow it also opens elsewhere: escrow recover."] * made.holds_escrow),
        ],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=[*made.warnings, *([_same_disk_notice(made.path)] if same_disk else [])],
    )


def _same_disk(copy: Path, keystore: Path) -> bool:
    return os.stat(copy).st_dev == os.stat(keystore).st_dev


def _same_disk_notice(path: Path) -> Notice:
    return Notice("same-disk", f"{path} is on the same file system as the keystore: a failed disk destroys both")
