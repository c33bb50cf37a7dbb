"""`export-public`: the public half of a key as a signed file, for whoever encrypts without keystore and license."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Block, Line, Outcome, Raw
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.file.export_public import ExportedRecipient, export_recipient


def command(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key: a model id for its active key, or a key id.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; standard output without it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> Outcome:
    """Write the public half of a key, to which others can encrypt.

    Reads the license, unless the key was made without one. For encrypt-model --recipient on machines that have neither;
    what they make opens here alone. The file is no secret, and valid until the key expires: export again after each
    rotation. cleanup does not destroy the key from now on without --confirm.
    """
    context: CommandContext = ctx.obj
    if output == "":
        raise UsageError("the output has no name")
    if output == "-":
        output = None
    context.stdout_is_data = output is None
    exported = export_recipient(
        context.writer,
        key,
        None if output is None else Path(output),
        license_key=context.license(),
        force=force,
        operation_id=context.operation_id,
    )
    recipient = exported.recipient
    return Outcome(
        result=_result(exported),
        view=_view(exported),
        messages=[f"exported {recipient.key_id}, valid until {rfc3339(recipient.not_after)}"],
        changed=exported.changed,
        operation_id=exported.operation_id,
        warnings=exported.warnings,
    )


def _view(exported: ExportedRecipient) -> list[Block]:
    if exported.destination is None:
        return [Raw(exported.recipient.encode().decode())]
    return [Line(str(exported.destination))]


def _result(exported: ExportedRecipient) -> dict[str, object]:
    recipient = exported.recipient
    return {
        "destination": str(exported.destination) if exported.destination else None,
        "model_id": recipient.model_id,
        "key_id": recipient.key_id,
        "generation": recipient.generation,
        "not_before": rfc3339(recipient.not_before),
        "not_after": rfc3339(recipient.not_after),
        "issuer": recipient.issuer.hex(),
        "recipient": recipient.encode().decode().rstrip("\n"),
    }
