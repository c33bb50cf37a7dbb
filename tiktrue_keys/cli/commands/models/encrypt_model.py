"""`encrypt-model`: one model into one container, or a folder into a folder of containers."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.commands.models.encrypt_folder_or_recipients import Encryption, folder, for_recipients, plan
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.folders import Jobs
from tiktrue_keys.cli.input.locations import is_folder, model_destination, model_source
from tiktrue_keys.cli.view.model_results import encrypted_json
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.file.encrypt import Encrypted, encrypt_model


def command(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="The model: a file, URL, folder, or - for standard input.")
    ],
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
        typer.Option("--output", "-o", metavar="DST", help="The container (SRC.ttm), a URL, or - for standard output."),
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
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="STATEFILE", help="Of a folder, note in this file what is done; a run that finds it there goes on."
        ),
    ] = None,
    jobs: Jobs = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done.")] = False,
) -> Outcome:
    """Encrypt a model file, folder or standard input.

    Reads the license, unless the key was made without one. The output appears whole or not at all. A folder becomes
    DIR.ttm with a signed list of its files. The root that is printed identifies a container's contents.

    With --resume a folder's finished files outlive a kill or a failure: the same command goes on with those that are
    missing or have changed. Files are never continued in the middle, each one anew has a new data key. To give up,
    remove STATEFILE and the hidden folder beside the output.

    With --recipient the container is unsigned: sign-model signs it, given the root, where its keystore is.
    """
    context: CommandContext = ctx.obj
    asked = Encryption(source, output, name, include or [], exclude or [], plain or [], resume, force, jobs)
    if (key is None) == (not recipient):
        raise UsageError("give exactly one of --key and --recipient")
    if key is None:
        if dry_run:
            raise UsageError("--dry-run goes with --key")
        return for_recipients(context, asked, recipient or [])
    if asked.of_folders and not is_folder(source):
        raise UsageError("--include, --exclude, --plain, --resume and --jobs are for a folder", f"{source} is none")
    if dry_run:
        return plan(context, asked, key)
    if is_folder(source):
        return folder(context, asked, key)
    model = model_source(context, source)
    destination = model_destination(context, output)
    license_key = context.license()
    with progress_bar(context, f"encrypting {source}") as report:
        made = encrypt_model(
            context.writer,
            model,
            destination,
            key=key,
            license_key=license_key,
            name=name,
            force=force,
            progress=report,
            lock_timeout=context.lock_timeout,
            operation_id=context.operation_id,
        )
    return _file_outcome(made, to_stdout=context.stdout_is_data)


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
