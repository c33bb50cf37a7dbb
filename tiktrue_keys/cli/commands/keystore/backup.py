"""`backup`: a copy of the keystore, for when the file, its disk or (with an escrow) the machine is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import UsageError


def command(
    ctx: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="FILE", help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> Outcome:
    """Copy the keystore to a file: for restore here, or with an escrow's shares elsewhere.

    The host secret is not in the copy: keep the two apart, or a thief has both. Without that secret and this machine's
    facts the copy opens nothing, unless it holds an escrow and its shares are there. Keep it on another disk. Reads no
    license; other commands may run meanwhile. restore puts the copy back; on another machine escrow recover does.
    """
    context: CommandContext = ctx.obj
    if destination in ("", "-"):
        raise UsageError("a backup is written to a file of its own", "give the name of a file")
    made = context.writer.backup(Path(destination), force=force, operation_id=context.operation_id)
    secret = context.host_secret or context.manager.document().host_secret_path
    same_disk = _same_disk(made.path, context.keystore)
    words = f"the keystore with its {made.audit_size} audit records"
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
            f"copied {words}" if made.changed else REPEATED,
            f"it opens on this machine, with the host secret {secret}, which is not in it: keep the two apart",
            *(["with the shares of its escrow it opens on another machine, too: escrow recover"] * made.holds_escrow),
        ],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=[*made.warnings, *([_same_disk_notice(made.path)] if same_disk else [])],
    )


def _same_disk(copy: Path, keystore: Path) -> bool:
    return os.stat(copy).st_dev == os.stat(keystore).st_dev


def _same_disk_notice(path: Path) -> Notice:
    return Notice("same-disk", f"{path} is on the same file system as the keystore: one dead disk takes both")
