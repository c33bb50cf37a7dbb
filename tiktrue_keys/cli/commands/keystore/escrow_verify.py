"""`escrow verify`: the proof that shares are good, while the machine is still there."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.share_words import ShareOption, read_shares
from tiktrue_keys.cli.view.escrows import escrow_json, escrow_rows
from tiktrue_keys.cli.view.outcome import Fields, Outcome
from tiktrue_keys.recovery.escrow import must_be_writable, the_escrow, verify_escrow

EXAMPLES = (
    ("Verify three shares:", "tiktrue-keys escrow verify --share 1.txt --share 2.txt --share 3.txt"),
    ("Verify shares from standard input:", "cat shares/*.txt | tiktrue-keys escrow verify --share -"),
)


def command(ctx: typer.Context, share: ShareOption = None) -> Outcome:
    """Prove that shares open the keystore, and record it.

    Takes as many shares as the threshold, or more; each one is used. Their holders can enter them one after the other
    on a terminal, which does not show them. Until this was done and a backup taken, every command that creates keys
    warns that the keystore cannot be recovered.
    """
    context: CommandContext = ctx.obj
    the_escrow(context.manager)  # before a share is asked for
    must_be_writable(context.manager)
    shares = read_shares(context, share)
    verified = verify_escrow(context.writer, shares, operation_id=context.operation_id)
    numbers = sorted({each.number for each in shares})
    return Outcome(
        result={
            **escrow_json(verified.escrow),
            "keystore_id": verified.keystore_id.hex(),
            "verified_shares": numbers,
        },
        view=[Fields(escrow_rows(verified.escrow))],
        messages=[f"Shares {', '.join(map(str, numbers))} open this keystore."],
        ids=[],
        changed=verified.changed,
        operation_id=verified.operation_id,
    )
