"""`generate`: a new key, or a batch of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.key_material import read_key_material
from tiktrue_keys.cli.input.labels import parse_labels
from tiktrue_keys.cli.view.keys import key_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DECRYPT_FOR, DEFAULT_LIFETIME
from tiktrue_keys.core.operations.results import GenerateResult


def command(
    ctx: typer.Context,
    model_id: Annotated[str, typer.Argument(metavar="MODEL_ID", help="The model that the key is for.")],
    lifetime: Annotated[str | None, typer.Option(metavar="DURATION", help="Encrypts for so long (30d).")] = None,
    decrypt_for: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Decrypts for so long after that (90d).")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; may be repeated.")] = None,
    no_license: Annotated[bool, typer.Option("--no-license", help="Bind it to the machine alone.")] = False,
    new_license: Annotated[
        bool, typer.Option("--new-license", help="Enrol a license that the keystore does not know.")
    ] = False,
    count: Annotated[
        int, typer.Option(metavar="N", help="Make N keys: MODEL_ID-0001 and so on.", show_default=False)
    ] = 1,
    from_file: Annotated[
        str | None, typer.Option(metavar="PATH|-", help="Use these 32 bytes (or 64 hex digits) as the key.")
    ] = None,
    new_chain: Annotated[bool, typer.Option("--new-chain", help="A second key beside the model's active one.")] = False,
) -> Outcome:
    """Make a key that opens only on this machine.

    It opens with this machine's facts and host secret, and with the license, which this command reads. The first key
    makes the keystore. Prints the key id.
    """
    context: CommandContext = ctx.obj
    license_key = None if no_license else context.license(twice=new_license or not context.manager.exists())
    material = read_key_material(context, from_file) if from_file is not None else None
    made = context.writer.generate(
        model_id,
        license_key=license_key,
        lifetime=context.duration(lifetime, "generate.lifetime", DEFAULT_LIFETIME),
        decrypt_for=context.duration(decrypt_for, "generate.decrypt_for", DEFAULT_DECRYPT_FOR),
        labels=parse_labels(label or ()),
        no_license=no_license,
        count=count,
        new_chain=new_chain,
        new_license=new_license,
        material=material,
        operation_id=context.operation_id,
    )
    return Outcome(
        result={"keys": [key_json(key, 0) for key in made.keys], "created_keystore": made.created_keystore},
        view=[Line(key.key_id) for key in made.keys],
        messages=_messages(made, context.keystore),
        ids=[key.key_id for key in made.keys],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
    )


def _messages(made: GenerateResult, keystore: Path) -> list[str]:
    messages = [f"made the keystore {keystore}"] if made.created_keystore else [f"keystore {keystore}"]
    if not made.changed:
        return [*messages, REPEATED]
    first = made.keys[0]
    many = f"{len(made.keys)} keys" if len(made.keys) > 1 else "1 key"
    until = f"encrypts until {rfc3339(first.expires_at)}, decrypts until {rfc3339(first.decrypt_until)}"
    return [*messages, f"made {many}, bound to {first.binding.replace('+', ' and ')}; {until}"]
