"""`fleet add`: pins another keystore's card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import can_ask, confirm, confirm_typed
from tiktrue_keys.cli.input.fleet import read_card
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.dispatch.peers import ISSUER
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.pin import pin

if TYPE_CHECKING:
    from tiktrue_keys.fleet.cards import Card

EXAMPLES = (
    (
        "Pin a node by the id that its administrator read out:",
        "tiktrue-keys fleet add gpu-1.card --expect abcdefghijklmnopqrstuvwxyz234567",
    ),
    ("Pin the issuer, on a node:", 'tiktrue-keys fleet add head-office.card --role issuer --expect "$NODE_ID"'),
)
EXIT_STATUS = {
    5: "The card has another node id or another role; or there is no terminal, and no --expect, or no --role for an"
    " issuer's card."
}


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
            metavar="ROLE", help="Role of the other side: node or issuer (default: node; an issuer's card needs it)."
        ),
    ] = None,
) -> Outcome:
    """Pin another keystore's card.

    An issuer pins its nodes, a node its issuer. On a terminal it shows the node id and asks whether it is the one that
    the other side shows. A script passes the node id, received over another channel, with --expect; --yes does not
    answer this question. An issuer's keys, revocations and signatures count here: pinning one needs --role issuer, or
    the word issuer typed on a terminal.
    """
    context: CommandContext = ctx.obj
    read = read_card(context, card)
    if read.role == ISSUER and role is None and can_ask():
        role = _typed_role(read, name)
        expect = expect or read.node_id
    if expect is None:
        expect = _compared(read, name)
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


def _typed_role(card: Card, name: str | None) -> Literal["issuer"]:
    """Ask for the word issuer, and for the node id in the same question. Raises RefusedError for another answer."""
    confirm_typed(
        f"'{name or card.name}' is an issuer: its keys, its revocations and its signatures would count here. If the"
        f" other machine shows node id {card.node_id}, type issuer to pin it",
        ISSUER,
    )
    return "issuer"


def _compared(card: Card, name: str | None) -> str:
    """Return the card's node id after the user has compared it with that of the other machine."""
    if not can_ask():
        raise RefusedError(
            f"node id {card.node_id} was not compared with the one of the other machine",
            "compare it with the one that fleet card shows there, then pass --expect NODE_ID",
        )
    confirm(f"Does the other machine show node id {card.node_id}, and is it to be pinned as '{name or card.name}'?")
    return card.node_id
