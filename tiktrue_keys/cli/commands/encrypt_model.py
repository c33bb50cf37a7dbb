"""`encrypt-model`: one model into one container."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.blocks import Line, Outcome
from tiktrue_keys.cli.model_streams import model_destination, model_source
from tiktrue_keys.cli.progress import progress_bar
from tiktrue_keys.cli.session import Session
from tiktrue_keys.models.encrypt import Encrypted, encrypt_model


def command(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The model: a file, or - for standard input.")],
    key: Annotated[str, typer.Option(metavar="KEY", help="The key: a key id, or a model id for its active key.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DST", help="The container (SRC.ttm), or - for standard output.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="The model's name in the container (SRC's).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> Outcome:
    """Encrypt a model file, folder or standard input.

    Reads the license, unless the key was made without one. The output appears whole or not at all. The root that is
    printed identifies the container's contents.
    """
    session: Session = ctx.obj
    plain = model_source(session, source)
    destination = model_destination(session, output)
    license_key = session.license()
    with progress_bar(session, f"encrypting {source}") as report:
        made = encrypt_model(
            session.manager,
            plain,
            destination,
            key=key,
            license_key=license_key,
            name=name,
            force=force,
            progress=report,
            lock_timeout=session.lock_timeout,
            operation_id=session.operation_id,
        )
    return _outcome(made, to_stdout=session.stdout_is_data)


def _outcome(made: Encrypted, *, to_stdout: bool) -> Outcome:
    place = str(made.destination) if made.destination else None
    return Outcome(
        result={
            "source": str(made.source) if made.source else None,
            "destination": place,
            "file_id": made.file_id.hex(),
            "model_id": made.key.model_id,
            "key_id": made.key.key_id,
            "name": made.name,
            "kind": made.kind,
            "length": made.length,
            "size": made.size,
            "root": made.root.hex(),
        },
        view=[] if to_stdout else [Line(place or "")],
        messages=[f"encrypted {made.length} bytes under key {made.key.key_id}; root {made.root.hex()}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
        shows_data=to_stdout,
    )
