"""`list`: keys as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.labels import parse_labels
from tiktrue_keys.cli.input.table_options import ColumnOption, FormatOption, chosen_columns
from tiktrue_keys.cli.view.keys import KEY_COLUMNS, SPARE_KEY_COLUMNS, count_containers, key_json, key_row
from tiktrue_keys.cli.view.outcome import OnDemand, Outcome, Table
from tiktrue_keys.core.instants import Instant, parse_duration
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN, ManagedKey, Status, is_due
from tiktrue_keys.core.names import parse_model_id
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import NotFoundError, UsageError

SortBy = Literal["model", "status", "created", "expires", "generation"]
_SORT: dict[str, Callable[[ManagedKey], tuple[object, ...]]] = {
    "model": lambda key: (key.model_id, key.generation, key.key_id),
    "status": lambda key: (list(Status).index(key.status), key.key_id),
    "created": lambda key: (key.created_at, key.key_id),
    "expires": lambda key: (key.expires_at, key.key_id),
    "generation": lambda key: (key.generation, key.key_id),
}

COLUMNS = KEY_COLUMNS

EXAMPLES = (
    ("List the keys of a model:", "tiktrue-keys list llama-7b"),
    ("List the keys that are to be rotated within three months:", "tiktrue-keys list --due --within 90d"),
)


def command(
    ctx: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models whose keys to list (default: all models).")
    ] = None,
    status: Annotated[
        list[Status] | None,
        typer.Option(
            metavar="STATUS",
            help=f"State of the keys to list: {', '.join(status.value for status in Status)} (repeatable).",
        ),
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="List only keys that rotate --due would rotate.")] = False,
    within: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="With --due: list those that become due within that time, as a forecast."
        ),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="DURATION", help="List only keys that were created longer ago than that.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Label of the keys to list (repeatable: all of them).")
    ] = None,
    sort: Annotated[
        SortBy, typer.Option(metavar="ORDER", help=f"Sort order: {', '.join(_SORT)} (default: model).")
    ] = "model",
    limit: Annotated[int | None, typer.Option(metavar="N", help="Maximum number of keys to list.", min=1)] = None,
    everything: Annotated[bool, typer.Option("--all", help="List destroyed keys too.")] = False,
    column: ColumnOption = None,
    form: FormatOption = "table",
) -> Outcome:
    """List keys and their states.

    Destroyed keys are listed only with --all. Reads no license and records nothing.
    """
    context: CommandContext = ctx.obj
    if within is not None and not due:
        raise UsageError("--within needs --due", "add --due")
    wanted = _Filter(
        models=frozenset(parse_model_id(model) for model in models or ()),
        states=frozenset(status or ()),
        labels=tuple(parse_labels(label or ()).items()),
        everything=everything,
    )
    period = context.duration(None, "rotate.within", DEFAULT_WITHIN)
    now = context.manager.now()
    horizon = Instant(now + (0 if within is None else parse_duration(within)))
    born_before = None if older_than is None else now - parse_duration(older_than)
    found = context.manager.select_keys(
        _known(context, wanted.models),
        accept=lambda key: (
            wanted(key)
            and (not due or is_due(key, horizon, period))
            and (born_before is None or key.created_at < born_before)
        ),
        order=_SORT[sort],
    )
    shown = found[:limit]
    counts = count_containers(context.manager, shown)
    rows = OnDemand(lambda: (key_row(key, counts.get(key.key_id, 0)) for key in shown))
    members = OnDemand(lambda: (key_json(key, counts.get(key.key_id, 0)) for key in shown))
    table = chosen_columns(Table(KEY_COLUMNS, rows, spare=SPARE_KEY_COLUMNS), column, form)
    return Outcome(
        result={"keys": members, "total": len(found)},
        view=[table] if shown or form == "csv" else [],
        messages=_messages(shown, found),
        ids=OnDemand(shown.ids),
    )


def _known(context: CommandContext, models: frozenset[str]) -> frozenset[str]:
    """Return the models. Raises NotFoundError for one that never had a key."""
    for model in sorted(models):
        if not any(context.manager.keys([model])):
            raise NotFoundError(f"no key of a model '{model}'", "keys() lists every key", remedy="list-keys")
    return models


class _Filter:
    """Which keys to list."""

    def __init__(
        self,
        *,
        models: frozenset[str],
        states: frozenset[Status],
        labels: tuple[tuple[str, str], ...],
        everything: bool,
    ) -> None:
        self.models = models
        self.states = states
        self.labels = labels
        self.everything = everything

    def __call__(self, key: ManagedKey) -> bool:
        if self.models and key.model_id not in self.models:
            return False
        if self.states and key.status not in self.states:
            return False
        if key.status is Status.DESTROYED and not self.everything and Status.DESTROYED not in self.states:
            return False
        return all(key.labels.get(name) == value for name, value in self.labels)


def _messages(shown: Sequence[ManagedKey], found: Sequence[ManagedKey]) -> list[str]:
    if not found:
        return ["No keys."]
    return [f"Showing {len(shown)} of {plural(len(found), 'key')}."] if len(shown) < len(found) else []
