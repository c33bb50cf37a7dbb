"""`fleet remove`: unpins a peer."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.keys import container_json, container_table
from tiktrue_keys.cli.view.outcome import REPEATED, Block, Outcome, Table
from tiktrue_keys.core.notices import plural
from tiktrue_keys.fleet.pin import unpin

EXAMPLES = (
    ("Stop sending to a node:", "tiktrue-keys fleet remove gpu-2 --yes"),
    ("Remove a node that an attacker controls:", "tiktrue-keys fleet remove gpu-1 --compromised --yes"),
)


def command(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name or node id.")],
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Treat the node's keys as known to an attacker, and show what to do.")
    ] = False,
) -> Outcome:
    """Unpin a node; nothing more is sent to it.

    The node keeps what it was sent. The keys and the containers that it can open are listed; with --compromised, as
    those to revoke and to re-encrypt.
    """
    context: CommandContext = ctx.obj
    remove = partial(unpin, context.manager, node, compromised=compromised, operation_id=context.operation_id)
    removed = remove(dry_run=True)
    if removed.dry_run:  # else what this operation id did the first time
        peer, keys = removed.peer, plural(len(removed.keys), "key")
        context.confirm(f"Remove node '{peer.name}' ({peer.node_id}), which was sent {keys}?")
        context.settle()
        removed = remove()
    view: list[Block] = []
    if removed.keys:
        view.append(Table(("key sent",), [(key_id,) for key_id in removed.keys]))
    if removed.containers:
        view.append(container_table(removed.containers))
    return Outcome(
        result={
            "node_id": removed.peer.node_id,
            "nodes": [peer_json(removed.peer)],
            "key_ids": list(removed.keys),
            "containers": [container_json(record) for record in removed.containers],
        },
        view=view,
        messages=[f"Removed '{removed.peer.name}'." if removed.changed else REPEATED],
        ids=list(removed.keys),
        changed=removed.changed,
        operation_id=removed.operation_id,
        warnings=removed.warnings,
    )
