"""`audit checkpoint`: the log's signed head, printed or added to a place elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Line, Outcome, Raw
from tiktrue_keys.core.audit.checkpoint import verifier_key
from tiktrue_keys.core.keystore.audit_log import origin_of
from tiktrue_keys.core.notices import plural

EXAMPLES = (
    (
        "Add the signed head to a folder on another machine, from cron:",
        "tiktrue-keys audit checkpoint --to /mnt/witness",
    ),
    ("Print it as JSON, with the verifier key:", "tiktrue-keys audit checkpoint --json"),
)
EXIT_STATUS = {4: "The log does not extend the newest checkpoint in DIR."}


def command(
    ctx: typer.Context,
    to: Annotated[
        str | None,
        typer.Option(metavar="DIR|URL", help="Folder or object prefix to add a dated checkpoint to, if it is new."),
    ] = None,
) -> Outcome:
    """Print the log's signed head, or keep it elsewhere.

    Keep it on another machine: audit verify --against FILE then proves that no record up to it was changed or removed.
    It is a C2SP tlog-checkpoint, which Go's sumdb/note opens with the verifier key that is shown.

    With --to the checkpoint becomes a new file in a folder that exists, named by keystore, epoch, number of records and
    date. Nothing there is replaced. The newest one there of this epoch is read first: a log that does not extend it is
    an older copy or was changed, and adds nothing. A log without new records adds nothing either.
    """
    context: CommandContext = ctx.obj
    document = context.manager.document()
    verifier = verifier_key(
        origin_of(document.keystore_id, document.epoch, rehearsal=document.rehearsal), document.audit_key
    )
    if to is not None:
        return _kept(context, to, verifier)
    note = context.manager.audit_checkpoint()
    return Outcome(
        result={"checkpoint": note, "verifier_key": verifier, "size": int(note.split("\n")[1])},
        view=[Raw(note)],
        messages=[f"Verifier key: {verifier}"],
    )


def _kept(context: CommandContext, to: str, verifier: str) -> Outcome:
    from tiktrue_keys.models.storage.location import parse_place
    from tiktrue_keys.models.storage.witness import keep_checkpoint

    kept = keep_checkpoint(context.manager, parse_place(to).absolute())
    place, size = str(kept.place), plural(kept.size, "record")
    words = f"Added a checkpoint of {size}." if kept.added else f"The newest checkpoint there covers all {size}."
    return Outcome(
        result={"checkpoint": kept.note, "verifier_key": verifier, "size": kept.size, "path": place},
        view=[Line(place)],
        messages=[words],
        ids=[place],
        changed=kept.added,
    )
