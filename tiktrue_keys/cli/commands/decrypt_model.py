"""`decrypt-model`: one container into one model."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.blocks import Line, Outcome
from tiktrue_keys.cli.model_streams import model_destination, model_source
from tiktrue_keys.cli.progress import progress_bar
from tiktrue_keys.cli.session import Session
from tiktrue_keys.models.decrypt import Decrypted, decrypt_model


def command(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The container: a file, or - for standard input.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DST", help="The model (SRC without .ttm), or - for standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    allow_deprecated: Annotated[
        bool, typer.Option("--allow-deprecated", help="Use a deprecated or expired key past its decrypt-until.")
    ] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept a container that nobody has signed.")] = False,
) -> Outcome:
    """Decrypt a model container.

    Reads the license, unless the key was made without one. Recorded before the first byte is released. An output file
    appears whole and verified or not at all; into a pipe each verified part goes at once.
    """
    session: Session = ctx.obj
    container = model_source(session, source)
    destination = model_destination(session, output)
    license_key = session.license()
    with progress_bar(session, f"decrypting {source}") as report:
        opened = decrypt_model(
            session.manager,
            container,
            destination,
            license_key=license_key,
            allow_deprecated=allow_deprecated,
            allow_unsigned=allow_unsigned,
            force=force,
            progress=report,
            lock_timeout=session.lock_timeout,
            operation_id=session.operation_id,
        )
    return _outcome(opened, to_stdout=session.stdout_is_data)


def _outcome(opened: Decrypted, *, to_stdout: bool) -> Outcome:
    place = str(opened.destination) if opened.destination else None
    return Outcome(
        result={
            "source": str(opened.source) if opened.source else None,
            "destination": place,
            "file_id": opened.file_id.hex(),
            "model_id": opened.key.model_id,
            "key_id": opened.key.key_id,
            "name": opened.name,
            "kind": opened.kind,
            "length": opened.length,
            "signed": opened.signed,
        },
        view=[] if to_stdout else [Line(place or "")],
        messages=[f"decrypted {opened.length} bytes with key {opened.key.key_id}"],
        changed=opened.changed,
        operation_id=opened.operation_id,
        warnings=opened.warnings,
        shows_data=to_stdout,
    )
