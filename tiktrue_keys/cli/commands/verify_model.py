"""`verify-model`: every byte of a container, without releasing one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.blocks import Line, Outcome
from tiktrue_keys.cli.progress import progress_bar
from tiktrue_keys.cli.session import Session
from tiktrue_keys.models.verify import verify_model


def command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="The container file.")],
    allow_deprecated: Annotated[
        bool, typer.Option("--allow-deprecated", help="Use a deprecated or expired key past its decrypt-until.")
    ] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept a container that nobody has signed.")] = False,
) -> Outcome:
    """Check a container's bytes and signature.

    Reads the license, unless the key was made without one. Checks everything that decrypt-model would, and releases
    nothing; the first thing that is wrong ends it.
    """
    session: Session = ctx.obj
    license_key = session.license()
    with progress_bar(session, f"verifying {container}") as report:
        found = verify_model(
            session.manager,
            Path(container),
            license_key=license_key,
            allow_deprecated=allow_deprecated,
            allow_unsigned=allow_unsigned,
            progress=report,
        )
    return Outcome(
        result={
            "path": str(found.path),
            "file_id": found.file_id.hex(),
            "model_id": found.key.model_id,
            "key_id": found.key.key_id,
            "length": found.length,
            "segments": found.segments,
            "root": found.root.hex(),
            "signed": found.signed,
            "checks": list(found.checks),
        },
        view=[Line(f"ok: {found.path}, {found.length} bytes, root {found.root.hex()}"), *(Line(f"  {each}") for each in found.checks)],
        ids=[],
        warnings=found.warnings,
    )
