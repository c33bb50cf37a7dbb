"""`reencrypt-model`: a container, or each one of a folder, takes a new data key; what a compromise needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import ask_line, can_ask
from tiktrue_keys.cli.input.folders import Jobs, refuse_jobs
from tiktrue_keys.cli.input.locations import is_folder, model_folder
from tiktrue_keys.cli.view.model_results import done_to_files
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.file.reencrypt import Reencrypted, reencrypt_model
from tiktrue_keys.models.folder.reencrypt import ReencryptedFolder, reencrypt_folder

EXAMPLES = (
    ("Encrypt a container again:", "tiktrue-keys reencrypt-model llama.gguf.ttm"),
    (
        "Save a model whose key was revoked:",
        "tiktrue-keys reencrypt-model llama.gguf.ttm --to llama-7b --recover-revoked",
    ),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="Container file or encrypted folder.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Key to move to (default: the active key of the container's chain)."),
    ] = None,
    recover_revoked: Annotated[
        bool, typer.Option("--recover-revoked", help="Open it although its key is revoked; this is recorded.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Confirm the recovery of a removed issuer's model, by the model's id."),
    ] = None,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept an unsigned container.")] = False,
    jobs: Jobs = None,
) -> Outcome:
    """Encrypt a container again, under a new data key.

    Reads the license. After a compromise this locks out a holder of the old data key, which rewrap-model does not. The
    new container replaces the old one once it is complete; after a failure the old one is still there, unchanged. The
    same holds for a folder, all of whose containers move to one key. A model of a pinned issuer is encrypted again
    there. To recover a model of an issuer that was removed, whose key is revoked, needs its id, typed or with
    --confirm.
    """
    context: CommandContext = ctx.obj
    license_key = context.license()
    reencrypt: Callable[..., Reencrypted | ReencryptedFolder] = reencrypt_model
    if is_folder(container):
        reencrypt = partial(reencrypt_folder, jobs=jobs)
    else:
        refuse_jobs(jobs, container)
    place = model_folder(container, "the container")

    def run(confirmed: str | None) -> Reencrypted | ReencryptedFolder:
        with progress_bar(context, f"Encrypting {container}") as report:
            return reencrypt(
                context.writer,
                place,
                license_key=license_key,
                to=to,
                recover_revoked=recover_revoked,
                allow_unsigned=allow_unsigned,
                confirmed=confirmed,
                progress=report,
                lock_timeout=context.lock_timeout,
                operation_id=context.operation_id,
            )

    try:
        made = run(confirm)
    except RefusedError as error:
        if error.remedy != "confirm-model" or confirm is not None or not can_ask():
            raise
        made = run(ask_line(f"{error.message}; if the container is yours, type the model's id"))
    return _folder_outcome(made) if isinstance(made, ReencryptedFolder) else _file_outcome(made)


def _file_outcome(made: Reencrypted) -> Outcome:
    return Outcome(
        result=_file_json(made),
        view=[Line(str(made.path))],
        messages=[
            f"Encrypted {made.length} bytes under key {made.key.key_id}; root {made.root.hex()}",
            *_released(made),
        ],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
    )


def _folder_outcome(made: ReencryptedFolder) -> Outcome:
    return Outcome(
        result={
            "path": str(made.path),
            "folder_id": made.folder_id.hex(),
            "model_id": made.key.model_id,
            "key_id": made.key.key_id,
            "length": made.length,
            "files": [_file_json(each) for each in made.files],
            "plain": list(made.plain),
            "release": made.release,
        },
        view=[Line(str(made.path))],
        messages=[
            f"{done_to_files('Encrypted', made.files, made.plain, made.length)} under key {made.key.key_id}",
            *_released(made),
        ],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
    )


def _released(made: Reencrypted | ReencryptedFolder) -> list[str]:
    if made.release is None:
        return []
    return [f"Release {made.release} names it; nodes open it once they have received that release."]


def _file_json(made: Reencrypted) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "old_file_id": made.old_file_id.hex(),
        "file_id": made.file_id.hex(),
        "model_id": made.key.model_id,
        "key_id": made.key.key_id,
        "length": made.length,
        "root": made.root.hex(),
        "signed": made.signed,
        "release": made.release,
    }
