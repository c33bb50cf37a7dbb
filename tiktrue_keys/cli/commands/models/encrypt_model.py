"""`encrypt-model`: one model into one container, or a folder into a folder of containers."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.commands.models.encrypt_folder_or_recipients import (
    Encryption,
    folder,
    for_recipients,
    plan,
    warn_unreleased,
)
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.folders import Jobs
from tiktrue_keys.cli.input.locations import is_folder, model_destination, model_source
from tiktrue_keys.cli.view.model_results import encrypted_json
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.file.encrypt import Encrypted, encrypt_model

EXAMPLES = (
    ("Encrypt a file; this writes llama.gguf.ttm:", "tiktrue-keys encrypt-model llama.gguf --key llama-7b"),
    (
        "Encrypt a folder so that an interrupted run can continue:",
        "tiktrue-keys encrypt-model llama-7b --key llama-7b --resume llama.state",
    ),
)
EXIT_STATUS = {11: "With --recipient: the file from export-public has expired."}


def command(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Model to encrypt: a file, folder or URL, or - for standard input.")
    ],
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Key to encrypt under: a key id, or a model id for its active key."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="File from export-public, instead of --key; needs no keystore and no license (repeatable).",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DST",
            help="Container to write: a file, folder or URL, or - for standard output (default: SRC.ttm).",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name of the model in the container (default: that of SRC).")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="For a folder: files to encrypt (repeatable; default: all files)."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="For a folder: files to leave out (repeatable).")
    ] = None,
    plain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="For a folder: files to copy unencrypted, with their hash in the signed list (repeatable).",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="STATEFILE", help="For a folder: file that records progress, from which a later run continues."
        ),
    ] = None,
    jobs: Jobs = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be done, and change nothing.")
    ] = False,
) -> Outcome:
    """Encrypt a model: a file, a folder, a URL or standard input.

    Reads the license, unless the key was created without one. The output appears complete or not at all. A folder
    becomes DIR.ttm, with a signed list of its files. The root that is printed identifies the contents of a container.

    With --resume, finished files survive a failure, and a kill except for the last ones, at most 500 files or 256 MiB:
    the same command continues with the files that are missing or have changed. It never continues in the middle of a
    file; it encrypts that file again, under a new data key. To give up, remove STATEFILE and the hidden folder beside
    the output.

    With --recipient the container is unsigned. Sign it with sign-model, given the root, where its keystore is.
    """
    context: CommandContext = ctx.obj
    asked = Encryption(source, output, name, include or [], exclude or [], plain or [], resume, force, jobs)
    if (key is None) == (not recipient):
        raise UsageError("give exactly one of --key and --recipient", "use --key where the keystore is")
    if key is None:
        if dry_run:
            raise UsageError("--dry-run needs --key", "omit --dry-run")
        return for_recipients(context, asked, recipient or [])
    if asked.of_folders and not is_folder(source):
        raise UsageError(
            "--include, --exclude, --plain, --resume and --jobs need a folder", f"omit them: {source} is not a folder"
        )
    if dry_run:
        return plan(context, asked, key)
    if is_folder(source):
        return folder(context, asked, key)
    model = model_source(context, source)
    destination = model_destination(context, output)
    license_key = context.license()
    with progress_bar(context, f"Encrypting {source}") as report:
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
    warn_unreleased(context, made)
    return _file_outcome(made, to_stdout=context.stdout_is_data)


def _file_outcome(made: Encrypted, *, to_stdout: bool) -> Outcome:
    return Outcome(
        result=encrypted_json(made),
        view=[] if to_stdout else [Line(str(made.destination))],
        messages=[f"Encrypted {made.length} bytes under key {made.key.key_id}; root {made.root.hex()}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
        shows_data=to_stdout,
    )
