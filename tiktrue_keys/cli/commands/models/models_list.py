"""`models list`: the registry of containers."""

from __future__ import annotations

from typing import Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.table_options import ColumnOption, FormatOption, chosen_columns
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.models.registry.containers import Registered, list_containers

COLUMNS = ("file id", "state", "release", "path", "name", "keys")

EXAMPLES = (
    ("List the registered containers:", "tiktrue-keys models list"),
    ("Print only their file ids:", "tiktrue-keys models list --quiet"),
)


def command(ctx: typer.Context, column: ColumnOption = None, form: FormatOption = "table") -> Outcome:
    """List the registered containers.

    Every container that a command writes or opens is registered. The state says what is at its path now: present,
    missing, replaced or unreadable; locked if no key of this keystore opens it, as after the restore of an older
    backup; piped for a container that was written to a pipe. Where a model has a release, its
    containers are released, superseded or withdrawn.
    """
    context: CommandContext = ctx.obj
    found = list_containers(context.manager)
    rows = [
        (
            each.record.file_id.hex(),
            each.state,
            each.release.value if each.release else "",
            each.record.path or "(pipe)",
            each.record.name,
            " ".join(sorted(each.record.keys)),
        )
        for each in found
    ]
    table = chosen_columns(Table(COLUMNS, rows, spare=("keys", "name", "release")), column, form)
    return Outcome(
        result={"containers": [_json(each) for each in found]},
        view=[table] if rows or form == "csv" else [],
        messages=[] if rows else ["No containers."],
        ids=[each.record.file_id.hex() for each in found],
    )


def _json(registered: Registered) -> dict[str, Any]:
    in_file = registered.keys_in_file
    return container_json(registered.record) | {
        "state": registered.state,
        "keys_in_file": None if in_file is None else sorted(in_file),
        "release": registered.release.value if registered.release else None,
    }
