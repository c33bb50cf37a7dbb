"""`fleet list`: the pinned peers."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.dispatch.scopes import scope_text
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.fleet.pin import pinned

_COLUMNS = ("name", "role", "node id", "models", "acknowledged", "seen")

EXAMPLES = (
    ("List the pinned nodes and issuers:", "tiktrue-keys fleet list"),
    ("Print only their node ids:", "tiktrue-keys fleet list --quiet"),
)


def command(ctx: typer.Context) -> Outcome:
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
            (rfc3339(progress.seen_at) or "") if progress.seen_at else "",
        )
        for peer, progress in found
    ]
    return Outcome(
        result={"nodes": [peer_json(peer, progress) for peer, progress in found]},
        view=[Table(_COLUMNS, rows)] if rows else [],
        messages=[] if rows else ["No nodes or issuers."],
        ids=[peer.node_id for peer, _ in found],
    )
