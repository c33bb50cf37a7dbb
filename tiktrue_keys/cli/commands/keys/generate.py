"""`generate`: a new key, or a batch of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.ephemeral import Ephemeral
from tiktrue_keys.cli.input.key_material import read_key_material
from tiktrue_keys.cli.input.labels import parse_labels
from tiktrue_keys.cli.view.keys import key_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.instants import duration_text, parse_duration, rfc3339
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DECRYPT_FOR, DEFAULT_LIFETIME
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.results import GenerateResult

EXAMPLES = (
    ("Create a key for llama-7b:", "tiktrue-keys generate llama-7b"),
    (
        "Create a key that encrypts for 90 days and has a label:",
        "tiktrue-keys generate mistral-7b --lifetime 90d --label team=research",
    ),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    model_id: Annotated[str, typer.Argument(metavar="MODEL_ID", help="Model that the key is for.")],
    lifetime: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help=f"Encryption period (default: {duration_text(DEFAULT_LIFETIME)})."),
    ] = None,
    decrypt_for: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help=f"Decryption period after that (default: {duration_text(DEFAULT_DECRYPT_FOR)})."
        ),
    ] = None,
    rotate_every: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long the key encrypts before rotate --due rotates it."),
    ] = None,
    rotate_before: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long before its end rotate --due rotates the key (default: 7d)."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Label to store with the key (repeatable).")
    ] = None,
    no_license: Annotated[
        bool, typer.Option("--no-license", help="Bind the key to this machine only, without a license.")
    ] = False,
    new_license: Annotated[
        bool, typer.Option("--new-license", help="Enrol a license that the keystore does not know yet.")
    ] = False,
    count: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of keys to create; above 1 for MODEL_ID-0001 and so on (default: 1).",
            show_default=False,
        ),
    ] = 1,
    from_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-", help="File with the key to import: 32 bytes or 64 hex digits; - for standard input."
        ),
    ] = None,
    new_chain: Annotated[
        bool, typer.Option("--new-chain", help="Start a second chain of keys beside the model's active one.")
    ] = False,
    ephemeral: Ephemeral = False,
) -> Outcome:
    """Create a key that opens only on this machine.

    The key opens with this machine's hardware facts, its host secret, and the license, which this command reads. The
    first key also creates the keystore, and asks where it would vanish with a container. Prints the key id.
    """
    context: CommandContext = ctx.obj
    context.confirm_storage(ephemeral=ephemeral)
    license_key = None if no_license else context.license(twice=new_license or not context.manager.exists())
    material = read_key_material(context, from_file) if from_file is not None else None
    made = context.writer.generate(
        model_id,
        license_key=license_key,
        lifetime=context.duration(lifetime, "generate.lifetime", DEFAULT_LIFETIME),
        decrypt_for=context.duration(decrypt_for, "generate.decrypt_for", DEFAULT_DECRYPT_FOR),
        labels=parse_labels(label or ()),
        rotate_every=None if rotate_every is None else parse_duration(rotate_every),
        rotate_before=None if rotate_before is None else parse_duration(rotate_before),
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
    messages = [f"Created keystore {keystore}" if made.created_keystore else f"Keystore {keystore}"]
    if not made.changed:
        return [*messages, REPEATED]
    first = made.keys[0]
    many = plural(len(made.keys), "key")
    until = f"encrypts until {rfc3339(first.expires_at)}, decrypts until {rfc3339(first.decrypt_until)}"
    return [*messages, f"Created {many}, bound to {first.binding.replace('+', ' and ')}; {until}"]
