"""`models scan`: finds containers and brings the registry up to date."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import PartialError
from tiktrue_keys.models.registry.containers import Scanned, scan
from tiktrue_keys.models.storage.location import parse_place

EXAMPLES = (
    ("Register the containers below a folder:", "tiktrue-keys models scan /srv/models"),
    ("Find moved containers, and print the result as JSON:", "tiktrue-keys models scan . --json"),
)
EXIT_STATUS = {7: "Some files could not be read; the result lists them."}


def command(
    ctx: typer.Context,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder or URL to search, including everything below it.")
    ],
) -> Outcome:
    """Find containers in a folder and register them.

    Registers files named *.ttm that this keystore has a key for, also each copy of one, and follows those that were
    moved. A container whose key has a license is registered only with that license: its header has to be authenticated.
    Without it the container waits, and its keys are not destroyed meanwhile. Symbolic links are not followed. Reads a
    license where one is given, and does not ask for it.
    """
    context: CommandContext = ctx.obj
    license_key = context.license() if context.license_origin is not None else None
    found = scan(context.writer, parse_place(folder), license_key)
    rows = [
        *(row for outcome, records in _records(found) for row in _rows(outcome, records)),
        *((path, "waiting", "not authenticated without its license") for path in found.waiting),
        *((path, "foreign", "this keystore has no key for it") for path in found.foreign),
        *((path, "failed", error.message) for path, error in found.failed),
    ]
    changed = [*found.added, *found.moved, *found.updated]
    return Outcome(
        result=_result(found),
        view=[Table(("path", "outcome", "detail"), rows, prose=("detail",))] if rows else [],
        messages=[] if rows else ["No containers."],
        ids=[record.file_id.hex() for record in changed],
        changed=found.changed,
        operation_id=found.operation_id,
        warnings=found.warnings,
        error=PartialError(f"{plural(len(found.failed), 'file')} could not be read", found.failed[0][1].message)
        if found.failed
        else None,
    )


def _records(found: Scanned) -> list[tuple[str, tuple[ContainerRecord, ...]]]:
    return [("added", found.added), ("moved", found.moved), ("updated", found.updated), ("unchanged", found.unchanged)]


def _rows(outcome: str, records: tuple[ContainerRecord, ...]) -> list[tuple[str, str, str]]:
    return [(record.path, outcome, record.file_id.hex()) for record in records]


def _result(found: Scanned) -> dict[str, Any]:
    return {
        "containers": [
            container_json(record) | {"outcome": outcome} for outcome, records in _records(found) for record in records
        ],
        "waiting": list(found.waiting),
        "copies": [{"path": path, "original": original} for path, original in found.copies],
        "foreign": list(found.foreign),
        "failed": [{"path": path, "error": error_json(error)} for path, error in found.failed],
    }
