"""`audit prove`: an inclusion proof of one record."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Outcome, Raw

EXAMPLES = (
    ("Prove that the first record is in the log:", "tiktrue-keys audit prove 0"),
    ("Write the proof of a record to a file:", "tiktrue-keys audit prove 1 > proof.txt"),
)


def command(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="Number of the record, counted from 0.")],
) -> Outcome:
    """Print a proof that a record is in the log.

    The proof is text: the record's number, the size of the tree, the sealed bytes of the record, the RFC 6962
    inclusion path in base64, one hash for each line, and the checkpoint of that size. It convinces anyone who has the
    verifier key, which audit checkpoint shows: audit check-proof needs no keystore.
    """
    context: CommandContext = ctx.obj
    proof = context.manager.audit_proof(number)
    return Outcome(
        result={
            "number": proof.number,
            "size": proof.size,
            "leaf": b64encode(proof.leaf).decode(),
            "path": [b64encode(each).decode() for each in proof.path],
            "checkpoint": proof.checkpoint,
        },
        view=[Raw(proof.encode())],
    )
