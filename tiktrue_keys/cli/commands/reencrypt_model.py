"""`reencrypt-model`: a container takes a new data key; what a compromise needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.blocks import Line, Outcome
from tiktrue_keys.cli.progress import progress_bar
from tiktrue_keys.cli.session import Session
from tiktrue_keys.models.reencrypt import reencrypt_model


def command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="The container file.")],
    to: Annotated[
        str | None, typer.Option(metavar="KEY", help="The key to move to (the active one of its chain).")
    ] = None,
    recover_revoked: Annotated[
        bool, typer.Option("--recover-revoked", help="Open it although its key is revoked. Recorded.")
    ] = False,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Accept a container that nobody has signed.")
    ] = False,
) -> Outcome:
    """Encrypt a container anew, under a new data key.

    Reads the license. After a compromise this, and not a rewrap, locks out whoever knows the old data key. The new
    container takes the old one's place when it is whole; after any failure the old one is there, untouched.
    """
    session: Session = ctx.obj
    license_key = session.license()
    with progress_bar(session, f"encrypting {container}") as report:
        made = reencrypt_model(
            session.writer,
            Path(container),
            license_key=license_key,
            to=to,
            recover_revoked=recover_revoked,
            allow_unsigned=allow_unsigned,
            progress=report,
            lock_timeout=session.lock_timeout,
            operation_id=session.operation_id,
        )
    return Outcome(
        result={
            "path": str(made.path),
            "old_file_id": made.old_file_id.hex(),
            "file_id": made.file_id.hex(),
            "model_id": made.key.model_id,
            "key_id": made.key.key_id,
            "length": made.length,
            "root": made.root.hex(),
            "signed": made.signed,
        },
        view=[Line(str(made.path))],
        messages=[f"encrypted {made.length} bytes under key {made.key.key_id}; root {made.root.hex()}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
    )
