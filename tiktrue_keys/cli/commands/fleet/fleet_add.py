"""`fleet add`: pins another keystore's card."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import ask_line, can_ask, confirm
from tiktrue_keys.cli.input.fleet import read_card
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.dispatch.peers import ISSUER, NODE
from tiktrue_keys.core.dispatch.scopes import ALL, scope_text
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.issuer_scopes import Overlap, find_overlaps
from tiktrue_keys.fleet.pin import pin

if TYPE_CHECKING:
    from tiktrue_keys.fleet.cards import Card

_NOTHING = "-"

EXAMPLES = (
    (
        "Pin a node by the id that its administrator read out:",
        "tiktrue-keys fleet add gpu-1.card --expect abcdefghijklmnopqrstuvwxyz234567",
    ),
    ("Pin the issuer, on a node:", 'tiktrue-keys fleet add head-office.card --role issuer --expect "$NODE_ID"'),
)
EXIT_STATUS = {
    5: "The card has another node id or another role; or, without a terminal, --expect is missing, or --role for an"
    " issuer's card."
}
TAKES_APPROVAL = True


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
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Model id or PREFIX* that the issuer may speak for; repeatable (default: all, for the first issuer).",
        ),
    ] = None,
) -> Outcome:
    """Pin another keystore's card.

    An issuer pins its nodes, a node its issuer. On a terminal it shows the node id and asks whether it is the one that
    the other side shows. A script passes the node id, received over another channel, with --expect; --yes does not
    answer this question. An issuer's keys, revocations and signatures count here, for the models that it may speak for:
    pinning one needs --role issuer, or the word issuer typed on a terminal. No two issuers speak for the same model; a
    terminal is asked what the other one keeps. Adding an issuer again with --models changes what it may speak for.
    """
    context: CommandContext = ctx.obj
    read = read_card(context, card)
    wanted = tuple(models or ())
    keeps: _Keeps = {}
    if read.role == ISSUER and role != NODE:
        role, expect, keeps = _issuer(context, read, name or read.name, role, expect, wanted)
    if expect is None:
        expect = _compared(read, name)
    pinned = pin(
        context.writer,
        read,
        expect=expect,
        name=name,
        role=role,
        models=wanted,
        keeps=keeps,
        operation_id=context.operation_id,
    )
    peer = pinned.peer
    return Outcome(
        result={"node_id": peer.node_id, "name": peer.name, "nodes": [peer_json(peer)]},
        view=[Line(peer.node_id)],
        messages=[
            REPEATED
            if not pinned.changed
            else f"Pinned '{peer.name}' as a node."
            if peer.role == NODE
            else f"Pinned '{peer.name}' as an issuer, for {scope_text(peer.scope or ALL)}."
        ],
        ids=[peer.node_id],
        changed=pinned.changed,
        operation_id=pinned.operation_id,
    )


_Role = Literal["node", "issuer"] | None
_Keeps = dict[str, tuple[str, ...]]


def _issuer(
    context: CommandContext, card: Card, name: str, role: _Role, expect: str | None, models: tuple[str, ...]
) -> tuple[_Role, str | None, _Keeps]:
    """Return the role, the node id and what another issuer keeps, after a single question about all of them.

    Without a terminal nothing is asked: raises RefusedError with the line that narrows the other issuer.
    """
    manager = context.manager
    overlaps = find_overlaps(manager, card.node_id, models) if manager.exists() else ()
    if overlaps and not (can_ask() and len(overlaps) == 1):
        raise _narrow_first(overlaps[0], models)
    if not can_ask() or (role is not None and not overlaps):
        return role, expect, {}
    speaks = f"its keys, its revocations and its signatures would count here for {scope_text(models or ALL)}"
    question = f"'{name}' is an issuer: {speaks}. If the other machine shows node id {card.node_id}, type issuer"
    if not overlaps:
        if ask_line(f"{question} to pin it") != ISSUER:
            raise RefusedError("declined; nothing was changed", "type issuer to confirm")
        return "issuer", expect or card.node_id, {}
    other, could_keep = overlaps[0].issuer, overlaps[0].could_keep
    question += f" and what '{other.name}', which speaks for {scope_text(other.scope or ALL)}, keeps"
    example = " ".join((ISSUER, *(could_keep or (_NOTHING,))))
    word, *kept = ask_line(f"{question} ({_NOTHING} for nothing), such as: {example}").split() or [""]
    if word != ISSUER or not kept:
        raise RefusedError("declined; nothing was changed", f"type {example} to confirm")
    return "issuer", expect or card.node_id, {other.node_id: () if kept == [_NOTHING] else tuple(kept)}


def _narrow_first(overlap: Overlap, models: tuple[str, ...]) -> RefusedError:
    """Return the error of scopes that overlap, with the line to type for what the other issuer has sent so far."""
    issuer = overlap.issuer
    kept = (part for model in overlap.could_keep or ("MODEL",) for part in ("--models", model))
    card = ("fleet", "add", f"{issuer.name}.card", "--role", ISSUER, "--expect", issuer.node_id)
    words = f"issuer '{issuer.name}' speaks for {scope_text(issuer.scope or ALL)}, which overlaps {scope_text(models)}"
    return RefusedError(words, f"say what it keeps: {shlex.join(('tiktrue-keys', *card, *kept))}")


def _compared(card: Card, name: str | None) -> str:
    """Return the card's node id after the user has compared it with that of the other machine."""
    if not can_ask():
        raise RefusedError(
            f"node id {card.node_id} was not compared with the one of the other machine",
            "compare it with the one that fleet card shows there, then pass --expect NODE_ID",
        )
    confirm(f"Does the other machine show node id {card.node_id}, and is it to be pinned as '{name or card.name}'?")
    return card.node_id
