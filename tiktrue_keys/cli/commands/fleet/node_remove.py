"""`node remove`: lets a peer go."""

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


def command(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="A name or node id.")],
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Its keys are no secret any more; says what to do.")
    ] = False,
) -> Outcome:
    """Let a node go: nothing is sent to it any more.

    What it was sent it still has. With --compromised the keys that it held are to be revoked, and the containers that
    they open to be encrypted anew; both are listed.
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
        view.append(Table(("key that it was sent",), [(key_id,) for key_id in removed.keys]))
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
        messages=[f"removed '{removed.peer.name}'" if removed.changed else REPEATED],
        ids=list(removed.keys),
        changed=removed.changed,
        operation_id=removed.operation_id,
        warnings=removed.warnings,
    )
