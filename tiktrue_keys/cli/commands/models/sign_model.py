"""`sign-model`: signs a container that was encrypted for this keystore elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.locations import model_place
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.models.file.sign import parse_root, sign_model

EXAMPLES = (
    (
        "Sign a container that a CI job made, whose log shows ROOT:",
        'tiktrue-keys sign-model ci.ttm --expect-root "$ROOT"',
    ),
    (
        "Sign it with a key that is past its decrypt-until:",
        'tiktrue-keys sign-model late.ttm --expect-root "$ROOT" --allow-deprecated',
    ),
)


def command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="Container file or URL.")],
    expect_root: Annotated[
        str,
        typer.Option(
            "--expect-root", metavar="HEX", help="Root that encrypt-model printed for the container (required)."
        ),
    ],
    allow_deprecated: Annotated[
        bool, typer.Option("--allow-deprecated", help="Use a deprecated or expired key past its decrypt-until.")
    ] = False,
) -> Outcome:
    """Sign a container that was encrypted with --recipient.

    Reads the license, unless the key was created without one, and the whole body once. The container is not copied; an
    object in object storage gets a small object NAME.ttmh beside it. Take the root from the log of the run that made
    the container, not from where the container came from: the signature confirms that it is that container.
    """
    context: CommandContext = ctx.obj
    root = parse_root(expect_root)
    license_key = context.license()
    with progress_bar(context, f"Reading {container}") as report:
        signed = sign_model(
            context.writer,
            model_place(container, "container"),
            expected_root=root,
            license_key=license_key,
            allow_deprecated=allow_deprecated,
            progress=report,
            lock_timeout=context.lock_timeout,
            operation_id=context.operation_id,
        )
    words = "Signed" if signed.changed else "Already signed:"
    return Outcome(
        result={
            "path": str(signed.path),
            "file_id": signed.file_id.hex(),
            "model_id": signed.key.model_id,
            "key_id": signed.key.key_id,
            "length": signed.length,
            "root": signed.root.hex(),
            "signed": True,
        },
        view=[Line(str(signed.path))],
        messages=[f"{words} {signed.length} bytes; root {signed.root.hex()}"],
        changed=signed.changed,
        operation_id=signed.operation_id,
        warnings=signed.warnings,
    )
