"""`fleet add`: pins another keystore's card."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import can_ask, confirm
from tiktrue_keys.cli.input.fleet import read_card
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.pin import pin

EXAMPLES = (
    (
        "Pin a node by the id that its administrator read out:",
        "tiktrue-keys fleet add gpu-1.card --expect abcdefghijklmnopqrstuvwxyz234567",
    ),
    ("Pin a node under another name:", 'tiktrue-keys fleet add gpu-2.card --name rack-2 --expect "$NODE_ID"'),
)
EXIT_STATUS = {5: "The card has another node id, or there is no terminal and no --expect."}


def command(
    ctx: typer.Context,
    card: Annotated[str, typer.Argument(metavar="FILE", help="Card to pin, or - for standard input.")],
    expect: Annotated[str | None, typer.Option(metavar="NODE_ID", help="Node id that the other side shows.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the other side here (default: the name in the card).")
    ] = None,
    role: Annotated[
        Literal["node", "issuer"] | None,
        typer.Option(
            metavar="ROLE", help="Role of the other side: node or issuer (default: issuer on a node, else node)."
        ),
    ] = None,
) -> Outcome:
    """Pin another keystore's card.

    An issuer pins its nodes, a node its issuer. On a terminal it shows the node id and asks whether it is the one that
    the other side shows. A script passes the node id, received over another channel, with --expect; --yes does not
    answer this question.
    """
    context: CommandContext = ctx.obj
    read = read_card(context, card)
    if expect is None:
        if not can_ask():
            raise RefusedError(
                f"node id {read.node_id} was not compared with the one of the other machine",
                "compare it with the one that fleet card shows there, then pass --expect NODE_ID",
            )
        confirm(f"Does the other machine show node id {read.node_id}, and is it to be pinned as '{name or read.name}'?")
        expect = read.node_id
    pinned = pin(context.writer, read, expect=expect, name=name, role=role, operation_id=context.operation_id)
    peer = pinned.peer
    return Outcome(
        result={"node_id": peer.node_id, "name": peer.name, "nodes": [peer_json(peer)]},
        view=[Line(peer.node_id)],
        messages=[
            f"Pinned '{peer.name}' as {'a node' if peer.role == 'node' else 'an issuer'}."
            if pinned.changed
            else REPEATED
        ],
        ids=[peer.node_id],
        changed=pinned.changed,
        operation_id=pinned.operation_id,
    )
