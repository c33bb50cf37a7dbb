"""`audit verify`: the whole log against its signed head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.core.audit.checkpoint import NOTE_LIMIT, Checkpoint, open_note
from tiktrue_keys.core.audit.merkle import verify_consistency
from tiktrue_keys.core.keystore.audit_log import origin_of
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
    older = _read_checkpoint(context, Path(against)) if against is not None else None
    size = context.manager.audit_verify()
    if older is not None:
        _must_continue(context, older, size)
    continues = f", extending the {older.size} of {against}" if older is not None else ""
    return Outcome(
        result={"size": size, "against": None if older is None else {"file": against, "size": older.size}},
        view=[Line(f"ok: {size} records{continues}")],
        ids=[],
    )


def _read_checkpoint(context: CommandContext, path: Path) -> Checkpoint:
    data = read_trusted(path, limit=NOTE_LIMIT, what="checkpoint").data
    document = context.manager.document()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise IntegrityError(f"the checkpoint {path} is not text") from None
    return open_note(text, origin=origin_of(document.keystore_id, document.epoch), public_key=document.audit_key)


def _must_continue(context: CommandContext, older: Checkpoint, size: int) -> None:
    if older.size > size:
        raise IntegrityError(
            f"the log has {size} records, but the checkpoint covers {older.size}",
            "an older copy of the keystore was put back: run tiktrue-keys restore with a newer backup",
        )
    document = context.manager.document()
    here = open_note(
        context.manager.audit_checkpoint(),
        origin=origin_of(document.keystore_id, document.epoch),
        public_key=document.audit_key,
    )
    verify_consistency(older.size, here.size, older.root, here.root, context.manager.audit_consistency(older.size))
