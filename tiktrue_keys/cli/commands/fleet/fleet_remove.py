"""`fleet remove`: unpins a peer."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.keys import container_json, container_table
from tiktrue_keys.cli.view.outcome import REPEATED, Block, Outcome, Table
from tiktrue_keys.core.dispatch.peers import NODE
from tiktrue_keys.core.notices import plural
from tiktrue_keys.fleet.unpin import UnpinResult, unpin

EXAMPLES = (
    ("Stop sending to a node:", "tiktrue-keys fleet remove gpu-2 --yes"),
    ("Remove a node that an attacker controls:", "tiktrue-keys fleet remove gpu-1 --compromised --yes"),
)


def command(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name or node id.")],
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised", help="Treat its keys as known to an attacker: show what to do, or revoke an issuer's keys."
        ),
    ] = False,
) -> Outcome:
    """Unpin a node or an issuer; nothing more is sent to it or taken from it.

    A node keeps what it was sent. The keys and the containers that it can open are listed; with --compromised, as those
    to revoke and to re-encrypt. The keys of an issuer only decrypt from then on, and what it has signed is opened where
    the registry names it; with --compromised its keys are revoked for good, and its signatures count for nothing.
    """
    context: CommandContext = ctx.obj
    remove = partial(unpin, context.manager, node, compromised=compromised, operation_id=context.operation_id)
    removed = remove(dry_run=True)
    if removed.dry_run:  # else what this operation id did the first time
        context.confirm(_question(removed, compromised))
        context.settle()
        removed = remove()
    view: list[Block] = []
    if removed.keys:
        column = "key sent" if removed.peer.role == NODE else "key received"
        view.append(Table((column,), [(key_id,) for key_id in removed.keys]))
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


def _question(removed: UnpinResult, compromised: bool) -> str:
    peer, keys = removed.peer, plural(len(removed.keys), "key")
    if peer.role == NODE:
        return f"Remove node '{peer.name}' ({peer.node_id}), which was sent {keys}?"
    after = f"the keys from it ({keys}) will {'be revoked for good' if compromised else 'only decrypt'}"
    return f"Remove issuer '{peer.name}' ({peer.node_id}): {after}?"
