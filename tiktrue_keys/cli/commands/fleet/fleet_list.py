"""`fleet list`: the pinned peers."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.table_options import ColumnOption, FormatOption, chosen_columns
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import Outcome, Table, When
from tiktrue_keys.core.dispatch.scopes import scope_text
from tiktrue_keys.fleet.pin import pinned

COLUMNS = ("name", "role", "node id", "models", "acknowledged", "seen")

EXAMPLES = (
    ("List the pinned nodes and issuers:", "tiktrue-keys fleet list"),
    ("Print only their node ids:", "tiktrue-keys fleet list --quiet"),
)


def command(ctx: typer.Context, column: ColumnOption = None, form: FormatOption = "table") -> Outcome:
    """List the pinned nodes and issuers."""
    context: CommandContext = ctx.obj
    found = pinned(context.manager)
    rows = [
        (
            peer.name,
            peer.role,
            peer.node_id,
            "" if peer.scope is None else scope_text(peer.scope),
            f"{progress.acked}/{progress.issued}" if peer.role == "node" else "",
            When(progress.seen_at),
        )
        for peer, progress in found
    ]
    table = chosen_columns(Table(COLUMNS, rows, spare=("models", "acknowledged", "seen")), column, form)
    return Outcome(
        result={"nodes": [peer_json(peer, progress) for peer, progress in found]},
        view=[table] if rows or form == "csv" else [],
        messages=[] if rows else ["No nodes or issuers."],
        ids=[peer.node_id for peer, _ in found],
    )
