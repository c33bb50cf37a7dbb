"""`rewrap-model`: containers move to another key; their bodies are not touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.folders import RewrapJobs, refuse_jobs
from tiktrue_keys.cli.input.locations import is_folder, model_place
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import PartialError, TikTrueKeysError, UsageError
from tiktrue_keys.models.file.rewrap import NotRewrapped, RewrapBatch, rewrap_model, rewrap_registered
from tiktrue_keys.models.file.rewrap_batch import Rewrapped
from tiktrue_keys.models.folder.rewrap import rewrap_folder

EXAMPLES = (
    ("Move one container:", "tiktrue-keys rewrap-model llama.gguf.ttm"),
    ("Move every registered container:", "tiktrue-keys rewrap-model --all"),
)
EXIT_STATUS = {7: "Some containers were not moved; the result lists them."}


def command(
    ctx: typer.Context,
    containers: Annotated[
        list[str] | None, typer.Argument(metavar="CONTAINER", help="Container files or URLs, or encrypted folders.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Move every registered container.")] = False,
    to: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Key to move to (default: the active key of the container's chain)."),
    ] = None,
    jobs: RewrapJobs = None,
) -> Outcome:
    """Move containers to the active key of their model, without rewriting the body.

    Reads the license. Writes 64 KiB whatever the size of the model; for an object in object storage, a small object
    NAME.ttmh beside it, which readers follow. After a compromise use reencrypt-model: a holder of the old key may have
    kept the data key.
    """
    context: CommandContext = ctx.obj
    if bool(containers) == every:
        raise UsageError("give either containers or --all", "name containers, or add --all")
    if every and to is not None:
        raise UsageError("--to needs named containers", "omit it: --all moves each container along its own chain")
    license_key = context.license()
    if every:
        refuse_jobs(jobs, "--all")
        batch = rewrap_registered(context.writer, license_key=license_key, lock_timeout=context.lock_timeout)
        return _outcome(batch_json(batch), operation_id=batch.operation_id, warnings=batch.warnings)
    if len(containers or ()) > 1 and context.operation_id is not None:
        raise UsageError("an operation id names one operation", "give one container, or omit --operation-id")
    if not any(is_folder(path) for path in containers or ()):
        refuse_jobs(jobs, (containers or [""])[0])
    return _rewrap_each(context, containers or [], to, license_key, jobs)


def _rewrap_each(
    context: CommandContext, paths: Sequence[str], to: str | None, license_key: Callable[[], bytes], jobs: int | None
) -> Outcome:
    """Rewrap what is named, one by one; a single one's error is the command's own."""
    members: list[dict[str, Any]] = []
    warnings: list[Notice] = []
    operation_id = None
    manager, timeout = context.writer, context.lock_timeout
    rewrap_one = partial(rewrap_model, manager, license_key=license_key, to=to, lock_timeout=timeout)
    rewrap_all_of = partial(rewrap_folder, manager, license_key=license_key, to=to, jobs=jobs, lock_timeout=timeout)
    for path in paths:
        try:
            if is_folder(path):
                batch = rewrap_all_of(Path(path))
                members += batch_json(batch)
                warnings += batch.warnings
            else:
                one = rewrap_one(model_place(path, "container"), operation_id=context.operation_id)
                members.append(_rewrapped_json(one))
                warnings += one.warnings
                operation_id = one.operation_id
        except TikTrueKeysError as error:
            if len(paths) == 1:
                raise
            members.append(_failed_json(path, error))
    return _outcome(members, operation_id=operation_id if len(paths) == 1 else None, warnings=warnings)


def _rewrapped_json(rewrapped: Rewrapped) -> dict[str, Any]:
    return {
        "file_id": rewrapped.file_id.hex(),
        "path": str(rewrapped.path),
        "model_id": rewrapped.model_id,
        "keys_before": sorted(rewrapped.keys_before),
        "keys_after": sorted(rewrapped.keys_after),
        "outcome": "rewrapped" if rewrapped.changed else "unchanged",
        "error": None,
    }


def batch_json(batch: RewrapBatch) -> list[dict[str, Any]]:
    """`result.containers` of a batch: what was looked at, what failed, what went into a pipe."""
    return [
        *(_rewrapped_json(each) for each in batch.done),
        *(_left_json(each, "failed") for each in batch.failed),
        *(_left_json(each, "unreachable") for each in batch.stale),
    ]


def _failed_json(path: str, error: TikTrueKeysError) -> dict[str, Any]:
    known: dict[str, Any] = {"file_id": None, "model_id": None, "keys_before": [], "keys_after": []}
    return {**known, "path": path, "outcome": "failed", "error": error_json(error)}


def _left_json(left: NotRewrapped, outcome: str) -> dict[str, Any]:
    keys = sorted(left.record.keys)
    return {
        "file_id": left.record.file_id.hex(),
        "path": left.record.path or None,
        "model_id": left.record.model_id,
        "keys_before": keys,
        "keys_after": keys,
        "outcome": outcome,
        "error": error_json(left.error),
    }


def _outcome(members: list[dict[str, Any]], *, operation_id: str | None, warnings: Sequence[Notice]) -> Outcome:
    failed = [each for each in members if each["outcome"] == "failed"]
    error = None
    if failed:
        error = PartialError(f"{len(failed)} of {len(members)} containers failed", failed[0]["error"]["message"])
    rows = [
        (
            each["path"] or "(pipe)",
            " ".join(each["keys_after"]),
            each["outcome"],
            (each["error"] or {}).get("message", ""),
        )
        for each in members
    ]
    changed = [each["path"] for each in members if each["outcome"] == "rewrapped"]
    return Outcome(
        result={"containers": members},
        view=[Table(("container", "keys", "outcome", "why"), rows, spare=("keys",), prose=("why",))] if rows else [],
        messages=[] if rows else ["No containers."],
        ids=changed,
        changed=bool(changed),
        operation_id=operation_id,
        warnings=warnings,
        error=error,
    )
