"""`reencrypt-model`: a container, or each one of a folder, takes a new data key; what a compromise needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import ask_line, can_ask
from tiktrue_keys.cli.input.folders import Jobs, refuse_jobs
from tiktrue_keys.cli.input.locations import is_folder, model_folder
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.hints import own_hint
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.model_results import done_to_files
from tiktrue_keys.cli.view.outcome import Line, Outcome, Table
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import PartialError, RefusedError, UsageError
from tiktrue_keys.models.file.reencrypt import Reencrypted, reencrypt_model
from tiktrue_keys.models.file.reencrypt_registered import ReencryptEnding, containers_under, reencrypt_registered
from tiktrue_keys.models.folder.reencrypt import ReencryptedFolder, reencrypt_folder

EXAMPLES = (
    ("Encrypt a container again:", "tiktrue-keys reencrypt-model llama.gguf.ttm"),
    (
        "Save a model whose key was revoked:",
        "tiktrue-keys reencrypt-model llama.gguf.ttm --to llama-7b --recover-revoked",
    ),
)
EXIT_STATUS = {7: "With --all: some containers were not encrypted again; the result lists them."}
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    container: Annotated[
        str | None, typer.Argument(metavar="CONTAINER", help="Container file or encrypted folder.")
    ] = None,
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
    from_key: Annotated[
        list[str] | None, typer.Option("--from", metavar="KEY", help="With --all: key that is to be left (repeatable).")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Encrypt every registered container of --from again.")] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept an unsigned container.")] = False,
    jobs: Jobs = None,
) -> Outcome:
    """Encrypt a container again, under a new data key.

    Reads the license. After a compromise this locks out a holder of the old data key, which rewrap-model does not. The
    new container replaces the old one once it is complete; after a failure the old one is still there, unchanged. The
    same holds for a folder, all of whose containers move to one key. A model of a pinned issuer is encrypted again
    there. To recover a model of an issuer that was removed, whose key is revoked, needs its id, typed or with
    --confirm. With --from KEY --all it encrypts every registered container of KEY again, continues past failures, and
    lists them; archived containers are left out.
    """
    context: CommandContext = ctx.obj
    if every != bool(from_key) or every == (container is not None):
        raise UsageError("give either CONTAINER, or --from KEY --all", "name one, or add --from KEY --all")
    license_key = context.license()
    if container is None:
        how: dict[str, Any] = {
            "license_key": license_key,
            "to": to,
            "recover_revoked": recover_revoked,
            "confirmed": confirm,
        }
        how |= {"allow_unsigned": allow_unsigned, "lock_timeout": context.lock_timeout}
        return _every_one(context, from_key or [], how, jobs)
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


def _every_one(context: CommandContext, keys: Sequence[str], how: dict[str, Any], jobs: int | None) -> Outcome:
    """Encrypt every registered container of the keys again; one that fails does not hold up the others."""
    if context.operation_id is not None:
        raise UsageError("an operation id names one operation", "give one container, or omit --operation-id")
    manager = context.writer
    key_ids = [manager.find(key).key_id for key in keys]
    records = containers_under(manager, key_ids)
    file, folder = partial(reencrypt_model, manager, **how), partial(reencrypt_folder, manager, jobs=jobs, **how)
    endings = list(reencrypt_registered(records, file, folder))
    failed = [each for each in endings if each.error is not None]
    rows = [
        (
            each.path or "(pipe)",
            "reencrypted" if each.error is None else "failed",
            each.error.message if each.error else "",
        )
        for each in endings
    ]
    words = f"{len(failed)} of {plural(len(endings), 'container')} not encrypted again"
    done = sorted({each.path for each in endings if each.error is None})
    return Outcome(
        result={"containers": [_ending_json(each) for each in endings]},
        view=[Table(("container", "outcome", "why"), rows, prose=("why",))] if rows else [],
        messages=[f"Encrypted {plural(len(endings) - len(failed), 'container')} again."],
        ids=done,
        changed=bool(done),
        error=PartialError(f"{words}, first {failed[0].path or 'one in a pipe'}", own_hint(failed[0].error))
        if failed and failed[0].error is not None
        else None,
    )


def _ending_json(ending: ReencryptEnding) -> dict[str, Any]:
    return container_json(ending.record) | {
        "outcome": "reencrypted" if ending.error is None else "failed",
        "error": None if ending.error is None else error_json(ending.error),
    }


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
