"""`node add`: pins another keystore's card."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import can_ask, confirm
from tiktrue_keys.cli.input.fleet import read_card
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.pin import pin


def command(
    ctx: typer.Context,
    card: Annotated[str, typer.Argument(metavar="FILE", help="The card, or - for standard input.")],
    expect: Annotated[
        str | None, typer.Option(metavar="NODE_ID", help="The node id that the other side read out.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Call it so instead.")] = None,
    role: Annotated[
        Literal["node", "issuer"] | None, typer.Option(help="Take it for a node, or for an issuer of keys.")
    ] = None,
) -> Outcome:
    """Pin another keystore's card.

    On a terminal it shows the node id and asks; a script gives the one that it got another way, with --expect. --yes
    does not answer this question. An issuer pins its nodes, a node its issuer.
    """
    context: CommandContext = ctx.obj
    read = read_card(context, card)
    if expect is None:
        if not can_ask():
            raise RefusedError(
                f"whether {read.node_id} is the right node id is for somebody to say",
                "give --expect NODE_ID, as node init and node export show it on the other side",
            )
        confirm(f"Pin '{name or read.name}', node id {read.node_id}, as the other side reads it out?")
        expect = read.node_id
    pinned = pin(context.writer, read, expect=expect, name=name, role=role, operation_id=context.operation_id)
    peer = pinned.peer
    return Outcome(
        result={"node_id": peer.node_id, "name": peer.name, "nodes": [peer_json(peer)]},
        view=[Line(peer.node_id)],
        messages=[_message(peer) if pinned.changed else REPEATED],
        ids=[peer.node_id],
        changed=pinned.changed,
        operation_id=pinned.operation_id,
    )


def _message(peer: Peer) -> str:
    return f"pinned '{peer.name}' as {'a node' if peer.role == 'node' else 'an issuer'}"
