"""`export-public`: the public half of a key as a signed file, for encryption without keystore and license."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Block, Line, Outcome, Raw
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.file.export_public import ExportedRecipient, export_recipient

EXAMPLES = (
    ("Export the public half of a model's active key:", "tiktrue-keys export-public llama-7b -o model.pub"),
    ("Replace the file after a rotation:", "tiktrue-keys export-public llama-7b -o model.pub --force"),
)


def command(
    ctx: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Key to export: a key id, or a model id for its active key.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write (default: standard output)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> Outcome:
    """Write the public half of a key, to which others can encrypt.

    Reads the license, unless the key was created without one. Others pass the file to encrypt-model --recipient on
    machines that have no keystore and no license; only this keystore opens what they make. The file is public. It is
    valid until the key expires: export it again after each rotation. From now on cleanup destroys the key only with
    --confirm.
    """
    context: CommandContext = ctx.obj
    if output == "":
        raise UsageError("the name of the output is empty")
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
        messages=[f"Exported {recipient.key_id}, valid until {rfc3339(recipient.not_after)}"],
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
