"""`audit verify`: the whole log against its signed head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.core.audit.checkpoint import NOTE_LIMIT, Checkpoint
from tiktrue_keys.errors import IntegrityError

EXAMPLES = (
    ("Verify the log:", "tiktrue-keys audit verify"),
    (
        "Verify that it extends a checkpoint kept elsewhere:",
        "tiktrue-keys audit verify --against /mnt/witness/checkpoint",
    ),
)
EXIT_STATUS = {4: "A record, the head or the checkpoint does not match the log."}


def command(
    ctx: typer.Context,
    against: Annotated[
        str | None, typer.Option(metavar="FILE", help="Checkpoint kept elsewhere, which the log must extend.")
    ] = None,
) -> Outcome:
    """Verify the whole log against its signed head.

    Opens every record, rebuilds the Merkle tree and verifies the signature of the head. Names the first record that is
    not as it was written. With --against it also proves that the log extends that checkpoint.
    """
    context: CommandContext = ctx.obj
    older = None if against is None else _extended(context, Path(against))
    size = context.manager.audit_verify()
    continues = f", extending the {older.size} of {against}" if older is not None else ""
    return Outcome(
        result={"size": size, "against": None if older is None else {"file": against, "size": older.size}},
        view=[Line(f"ok: {size} records{continues}")],
        ids=[],
    )


def _extended(context: CommandContext, path: Path) -> Checkpoint:
    """Return the checkpoint in the file, which the log extends. Raises IntegrityError otherwise."""
    note = read_trusted(path, limit=NOTE_LIMIT, what="checkpoint").data
    try:
        return context.manager.audit_must_extend(note)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", **error.advice) from None
