"""`audit prove`: an inclusion proof of one record."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Outcome, Raw


def command(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="The record's number, from 0.")],
) -> Outcome:
    """Prove that a record is in the log.

    Prints the proof as text: the record's number, the tree's size, the record's bytes (sealed) and the RFC 6962
    inclusion path in base64, one hash a line. Together with the checkpoint of that size it convinces whoever has the
    verifier key.
    """
    context: CommandContext = ctx.obj
    size = context.manager.audit_size()
    leaf, path = context.manager.audit_proof(number)
    sealed, hashes = b64encode(leaf).decode(), [b64encode(each).decode() for each in path]
    lines = [f"number {number}", f"size {size}", f"leaf {sealed}", *(f"path {each}" for each in hashes)]
    checkpoint = context.manager.audit_checkpoint()
    return Outcome(
        result={"number": number, "size": size, "leaf": sealed, "path": hashes, "checkpoint": checkpoint},
        view=[Raw("".join(f"{line}\n" for line in lines))],
    )
