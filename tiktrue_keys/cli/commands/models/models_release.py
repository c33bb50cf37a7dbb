"""`models release`: which containers and folders of a model may be opened."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import REPEATED, Outcome, Table
from tiktrue_keys.core.dispatch.releases import HERE, Release, ReleaseEntry
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.release import Released
from tiktrue_keys.errors import UsageError

EXAMPLES = (
    ("Release a container, and no other of its model:", "tiktrue-keys models release llama.gguf.ttm --only"),
    ("Withdraw one for good:", "tiktrue-keys models release --withdraw 0123456789abcdef0123456789abcdef --yes"),
)


def command(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONTAINER", help="Containers and encrypted folders to release (default: show the releases)."
        ),
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Release only these; the model's other containers are superseded.")
    ] = False,
    withdraw: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE_ID", help="Withdraw a file id or folder id for good (repeatable)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be done, and change nothing.")
    ] = False,
) -> Outcome:
    """Release containers and folders of a model, and withdraw them.

    Once a model has a release, this keystore and its nodes refuse every other container of it, unless
    --allow-superseded is given. CONTAINERs are added to the release of their model; --only supersedes the others, which
    may be released again later; a withdrawn one may not. Each must be signed by this keystore, which must have made the
    model's keys. Reads no license, and not the bodies: verify-model does. Nodes learn of it with the next fleet sync.
    Withdrawing asks for confirmation on a terminal; elsewhere it needs --yes.
    """
    context: CommandContext = ctx.obj
    if not paths and not withdraw:
        if only or dry_run:
            raise UsageError("nothing to release", "name containers or folders")
        return _shown(context)
    from tiktrue_keys.models.model_release import release_models

    release = partial(release_models, paths=paths or (), withdraw=withdraw or (), only=only)
    if dry_run:
        return _outcome(context, release(context.manager, dry_run=True, operation_id=context.operation_id))
    confirm = partial(context.confirm, f"Withdraw {', '.join(withdraw or ())}, which can never be released again?")
    released = release(context.writer, confirm=confirm if withdraw else None, operation_id=context.operation_id)
    return _outcome(context, released)


def _shown(context: CommandContext) -> Outcome:
    releases = context.manager.releases()
    view = _Described(context, releases)
    return Outcome(
        result={"releases": view.json()},
        view=view.tables(),
        messages=[] if releases else ["No model has a release: every signed container opens."],
        ids=[entry.file_id.hex() for each in releases for entry in each.entries],
    )


def _outcome(context: CommandContext, released: Released) -> Outcome:
    view = _Described(context, released.releases)
    return Outcome(
        result={
            "dry_run": released.dry_run,
            "releases": view.json(),
            "left": [file_id.hex() for file_id in released.left],
        },
        view=view.tables(),
        messages=_messages(context, released),
        ids=[entry.file_id.hex() for each in released.releases for entry in each.entries],
        changed=released.changed,
        operation_id=released.operation_id,
        warnings=released.warnings,
    )


def _messages(context: CommandContext, released: Released) -> list[str]:
    if not released.changed and not released.dry_run:
        return [REPEATED if context.operation_id else "Nothing changed."]
    named = sum(len(each.entries) for each in released.releases)
    parts = [f"{'Would be' if released.dry_run else 'Now'} released: {plural(named, 'id')}"]
    parts += [f"no longer: {plural(len(released.left), 'id')}"] if released.left else []
    parts += [f"the next fleet sync sends it to {plural(released.nodes, 'node')}"] if released.nodes else []
    return ["; ".join(parts) + "."]


class _Described:
    """Releases with the registered paths of what they name."""

    def __init__(self, context: CommandContext, releases: tuple[Release, ...]) -> None:
        self._releases = releases
        ids = {each for release in releases for each in (*_ids(release), *release.withdrawn)}
        found = context.manager.locations_by_id(ids)
        self._paths = {file_id: [record.path for record in found.get(file_id, ()) if record.path] for file_id in ids}

    def json(self) -> list[dict[str, Any]]:
        return [
            {
                "model_id": each.model_id,
                "origin": None if each.origin == HERE else each.origin,
                "epoch": each.epoch,
                "number": each.number,
                "issued_at": rfc3339(each.issued_at) if each.number else None,
                "entries": [self._entry_json(entry) for entry in each.entries],
                "withdrawn": [file_id.hex() for file_id in each.withdrawn],
            }
            for each in self._releases
        ]

    def tables(self) -> list[Table]:
        rows = [row for each in self._releases for row in self._rows(each)]
        return [Table(("model", "release", "id", "state", "name", "path"), rows)] if rows else []

    def _entry_json(self, entry: ReleaseEntry) -> dict[str, Any]:
        return {
            "id": entry.file_id.hex(),
            "root": entry.root.hex(),
            "until": rfc3339(entry.until) if entry.until else None,
            "name": entry.name or None,
            "paths": self._paths[entry.file_id],
        }

    def _rows(self, release: Release) -> list[tuple[str, ...]]:
        entries = sorted(release.entries, key=lambda entry: (entry.name, entry.file_id))
        states = [(entry.file_id, _state(entry), entry.name) for entry in entries]
        states += [(file_id, "withdrawn", "") for file_id in release.withdrawn]
        number = str(release.number) if release.number else "-"
        return [
            (release.model_id, number, file_id.hex(), state, name, " ".join(self._paths[file_id]))
            for file_id, state, name in states
        ]


def _ids(release: Release) -> list[bytes]:
    return [entry.file_id for entry in release.entries]


def _state(entry: ReleaseEntry) -> str:
    return f"released until {rfc3339(entry.until)}" if entry.until else "released"
