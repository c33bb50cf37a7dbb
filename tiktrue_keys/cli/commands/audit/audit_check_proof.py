"""`audit check-proof`: verifies a proof of `audit prove`, without a keystore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.core.audit.checkpoint import parse_verifier_key
from tiktrue_keys.core.audit.proof import PROOF_LIMIT, parse_proof, verify_proof
from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError

EXAMPLES = (
    (
        "Verify a proof with the key that audit checkpoint showed:",
        'tiktrue-keys audit check-proof proof.txt --key "$KEY"',
    ),
    ("The same, printing the result as JSON:", 'tiktrue-keys audit check-proof proof.txt --json --key "$KEY"'),
)
EXIT_STATUS = {4: "The file is not a proof, or it does not hold under this key."}


def command(
    ctx: typer.Context,
    proof: Annotated[str, typer.Argument(metavar="FILE", help="Proof that audit prove printed.")],
    key: Annotated[
        str,
        typer.Option(
            "--key", metavar="VERIFIER_KEY", help="Verifier key of the log, which audit checkpoint shows (required)."
        ),
    ],
) -> Outcome:
    """Verify a proof that a record is in a log.

    Needs no keystore. Get the verifier key, which audit checkpoint shows, from the keystore's administrator, over
    another channel than the proof: it names the log and signs its head. The proof does not show what the record says.
    """
    context: CommandContext = ctx.obj
    context.needs_keystore = False
    origin, public_key = parse_verifier_key(key)
    path = Path(proof)
    try:
        found = parse_proof(read_capped(path, PROOF_LIMIT, "the proof"))
        checkpoint = verify_proof(found, origin=origin, public_key=public_key)
    except IntegrityError as error:
        reason = "ask for the proof again, and compare the verifier key with the one that the administrator shows"
        raise IntegrityError(f"{shown(path)} proves nothing: {error.message}", reason) from None
    return Outcome(
        result={
            "file": proof,
            "number": found.number,
            "size": found.size,
            "log": origin,
            "root": checkpoint.root.hex(),
        },
        view=[Line(f"ok: record {found.number} is among the {found.size} of {origin}")],
        ids=[],
    )
