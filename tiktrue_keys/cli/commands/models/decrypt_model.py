"""`decrypt-model`: one container into one model, or an encrypted folder into a folder."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.audit_to import AuditTo, recording_manager
from tiktrue_keys.cli.input.folders import Jobs, refuse_jobs
from tiktrue_keys.cli.input.locations import is_folder, is_remote_folder, model_destination, model_folder, model_source
from tiktrue_keys.cli.view.model_results import decrypted_folder_json, decrypted_json, done_to_files
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.file.decrypt import Decrypted, ReadOptions, decrypt_model
from tiktrue_keys.models.folder.decrypt import DecryptedFolder, decrypt_folder

EXAMPLES = (
    ("Decrypt a file:", "tiktrue-keys decrypt-model llama.gguf.ttm -o plain.gguf"),
    ("Decrypt into a pipe:", "tiktrue-keys decrypt-model llama.gguf.ttm -o - | sha256sum"),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Container to decrypt: a file, folder or URL, or - for standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DST",
            help="Model to write: a file, folder or URL, or - for standard output (default: SRC without .ttm).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    allow_deprecated: Annotated[
        bool, typer.Option("--allow-deprecated", help="Use a deprecated or expired key past its decrypt-until.")
    ] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept an unsigned container.")] = False,
    allow_superseded: Annotated[
        bool, typer.Option("--allow-superseded", help="Accept a container that its model's release does not name.")
    ] = False,
    jobs: Jobs = None,
    audit_to: AuditTo = None,
) -> Outcome:
    """Decrypt a container or an encrypted folder.

    Reads the license, unless the key was created without one. The operation is recorded before the first byte is
    released. An output file or folder appears complete and verified, or not at all; a pipe receives each part once that
    part is verified.
    """
    context: CommandContext = ctx.obj
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    manager = recording_manager(context, audit_to)
    if is_folder(source) or is_remote_folder(source):
        return _decrypt_folder(context, manager, source, output, options, force=force, jobs=jobs)
    refuse_jobs(jobs, source)
    container = model_source(context, source)
    destination = model_destination(context, output)
    license_key = context.license()
    with progress_bar(context, f"Decrypting {source}") as report:
        opened = decrypt_model(
            manager,
            container,
            destination,
            license_key=license_key,
            allow_deprecated=allow_deprecated,
            allow_unsigned=allow_unsigned,
            allow_superseded=allow_superseded,
            force=force,
            progress=report,
            lock_timeout=context.lock_timeout,
            operation_id=context.operation_id,
        )
    return _file_outcome(opened, to_stdout=context.stdout_is_data)


def _decrypt_folder(
    context: CommandContext,
    manager: KeyManager,
    source: str,
    output: str | None,
    options: ReadOptions,
    *,
    force: bool,
    jobs: int | None,
) -> Outcome:
    if output == "-":
        raise UsageError("a folder cannot be written to standard output", "use -o DIR, or omit -o")
    if is_remote_folder(source):
        refuse_jobs(jobs, source)
        jobs = 1
    with progress_bar(context, f"Decrypting {source}") as report:
        opened = decrypt_folder(
            manager,
            source,
            None if output is None else model_folder(output, "a decrypted folder"),
            license_key=context.license(),
            allow_deprecated=options.allow_deprecated,
            allow_unsigned=options.allow_unsigned,
            allow_superseded=options.allow_superseded,
            force=force,
            jobs=jobs,
            progress=report,
            operation_id=context.operation_id,
        )
    return _folder_outcome(opened)


def _file_outcome(opened: Decrypted, *, to_stdout: bool) -> Outcome:
    return Outcome(
        result=decrypted_json(opened),
        view=[] if to_stdout else [Line(str(opened.destination))],
        messages=[f"Decrypted {opened.length} bytes with key {opened.key.key_id}"],
        changed=opened.changed,
        operation_id=opened.operation_id,
        warnings=opened.warnings,
        shows_data=to_stdout,
    )


def _folder_outcome(opened: DecryptedFolder) -> Outcome:
    return Outcome(
        result=decrypted_folder_json(opened),
        view=[Line(str(opened.destination))],
        messages=[f"{done_to_files('Decrypted', opened.files, opened.plain, opened.length)}."],
        changed=opened.changed,
        operation_id=opened.operation_id,
        warnings=opened.warnings,
    )
