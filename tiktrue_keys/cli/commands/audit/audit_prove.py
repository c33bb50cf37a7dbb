"""`audit prove`: an inclusion proof of one record."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Outcome, Raw

EXAMPLES = (
    ("Prove that the first record is in the log:", "tiktrue-keys audit prove 0"),
    ("Keep a proof together with its checkpoint:", "tiktrue-keys audit prove 1 --json > proof.json"),
)


def command(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="Number of the record, counted from 0.")],
) -> Outcome:
    """Print a proof that a record is in the log.

    The proof is text: the record's number, the size of the tree, the sealed bytes of the record, and the RFC 6962
    inclusion path in base64, one hash for each line. Together with the checkpoint of that size it convinces anyone who
    has the verifier key.
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
