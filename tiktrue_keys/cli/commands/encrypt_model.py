"""`encrypt-model`: one model into one container, or a folder into a folder of containers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.blocks import Line, Outcome
from tiktrue_keys.cli.model_results import encrypted_folder_json, encrypted_json, files_of, sealed_json
from tiktrue_keys.cli.model_streams import is_folder, model_destination, model_source
from tiktrue_keys.cli.progress import progress_bar
from tiktrue_keys.cli.session import Session
from tiktrue_keys.core.instants import instant_of
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.encrypt import Encrypted, encrypt_model
from tiktrue_keys.models.encrypt_folder import EncryptedFolder, encrypt_folder
from tiktrue_keys.models.encrypt_recipient import encrypt_for_recipients
from tiktrue_keys.models.recipients import Recipient, read_recipient


def command(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The model: a file, a folder, or - for standard input.")],
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The key: a key id, or a model id for its active key.")
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="In place of KEY, what export-public gave: needs no keystore and no license."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DST", help="The container (SRC.ttm), or - for standard output."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="The model's name in the container (SRC's).")] = None,
    include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Of a folder, only these files.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Of a folder, leave these files out.")
    ] = None,
    plain: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Of a folder, copy these files in clear, held by their hash."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> Outcome:
    """Encrypt a model file, folder or standard input.

    Reads the license, unless the key was made without one. The output appears whole or not at all. A folder becomes
    DIR.ttm with a signed list of its files. The root that is printed identifies a container's contents.

    With --recipient the container is unsigned: sign-model signs it, given the root, where its keystore is.
    """
    session: Session = ctx.obj
    if (key is None) == (not recipient):
        raise UsageError("give exactly one of --key and --recipient")
    if key is None:
        if is_folder(source) or include or exclude or plain:
            raise UsageError("a folder's list of files must be signed, so it takes --key", "encrypt file by file")
        return _encrypt_for_recipients(session, source, output, recipient or [], name, force=force)
    if is_folder(source):
        if name is not None:
            raise UsageError("--name is for a file", "a folder's files keep their names")
        return _encrypt_folder(session, source, output, key, (include or [], exclude or [], plain or []), force=force)
    if include or exclude or plain:
        raise UsageError("--include, --exclude and --plain are for a folder", f"{source} is none")
    model = model_source(session, source)
    destination = model_destination(session, output)
    license_key = session.license()
    with progress_bar(session, f"encrypting {source}") as report:
        made = encrypt_model(
            session.writer,
            model,
            destination,
            key=key,
            license_key=license_key,
            name=name,
            force=force,
            progress=report,
            lock_timeout=session.lock_timeout,
            operation_id=session.operation_id,
        )
    return _file_outcome(made, to_stdout=session.stdout_is_data)


def _encrypt_for_recipients(
    session: Session, source: str, output: str | None, files: list[str], name: str | None, *, force: bool
) -> Outcome:
    session.needs_keystore = False
    recipients = [read_recipient(file) for file in files]
    model = model_source(session, source)
    destination = model_destination(session, output)
    with progress_bar(session, f"encrypting {source}") as report:
        made = encrypt_for_recipients(
            model,
            destination,
            recipients=recipients,
            now=instant_of(time.time()),
            name=name,
            force=force,
            progress=report,
            lock_timeout=session.lock_timeout,
        )
    return Outcome(
        result=sealed_json(made),
        view=[] if session.stdout_is_data else [Line(str(made.destination))],
        messages=[f"encrypted {made.length} bytes for {_named(recipients)}; root {made.root.hex()}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
        shows_data=session.stdout_is_data,
    )


def _named(recipients: list[Recipient]) -> str:
    return ", ".join(recipient.key_id for recipient in recipients)


def _encrypt_folder(
    session: Session,
    source: str,
    output: str | None,
    key: str,
    globs: tuple[list[str], list[str], list[str]],
    *,
    force: bool,
) -> Outcome:
    if output == "-":
        raise UsageError("a folder does not go to standard output", "give a folder with -o, or leave it out")
    include, exclude, plain = globs
    license_key = session.license()
    with progress_bar(session, f"encrypting {source}") as report:
        made = encrypt_folder(
            session.writer,
            Path(source),
            None if output is None else Path(output),
            key=key,
            license_key=license_key,
            include=include,
            exclude=exclude,
            plain=plain,
            force=force,
            progress=report,
            operation_id=session.operation_id,
        )
    return _folder_outcome(made)


def _file_outcome(made: Encrypted, *, to_stdout: bool) -> Outcome:
    return Outcome(
        result=encrypted_json(made),
        view=[] if to_stdout else [Line(str(made.destination))],
        messages=[f"encrypted {made.length} bytes under key {made.key.key_id}; root {made.root.hex()}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
        shows_data=to_stdout,
    )


def _folder_outcome(made: EncryptedFolder) -> Outcome:
    left_out = f", left out {len(made.left_out)}" if made.left_out else ""
    files = files_of(made.files, made.plain)
    return Outcome(
        result=encrypted_folder_json(made),
        view=[Line(str(made.destination))],
        messages=[f"encrypted {files} of {made.length} bytes under key {made.key.key_id}{left_out}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
    )
