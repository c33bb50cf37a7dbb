"""`audit checkpoint`: the log's signed head."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Outcome, Raw
from tiktrue_keys.core.audit.checkpoint import verifier_key
from tiktrue_keys.core.keystore.audit_log import origin_of

EXAMPLES = (
    ("Keep the signed head elsewhere:", "tiktrue-keys audit checkpoint > /mnt/witness/checkpoint"),
    ("Print it as JSON, with the verifier key:", "tiktrue-keys audit checkpoint --json"),
)


def command(ctx: typer.Context) -> Outcome:
    """Print the log's signed head.

    Keep it on another machine: audit verify --against FILE then proves that no record up to it was changed or removed.
    It is a C2SP tlog-checkpoint, which Go's sumdb/note opens with the verifier key that is shown.
    """
    context: CommandContext = ctx.obj
    note = context.manager.audit_checkpoint()
    document = context.manager.document()
    verifier = verifier_key(origin_of(document.keystore_id, document.epoch), document.audit_key)
    return Outcome(
        result={"checkpoint": note, "verifier_key": verifier, "size": int(note.split("\n")[1])},
        view=[Raw(note)],
        messages=[f"Verifier key: {verifier}"],
    )
