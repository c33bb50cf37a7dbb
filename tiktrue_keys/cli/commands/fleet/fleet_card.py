"""`fleet card`: this keystore's card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Line, Outcome, Raw
from tiktrue_keys.core.durable import create_bytes, replace_bytes
from tiktrue_keys.fleet.own_identity import own_card

_MODE = 0o644

EXAMPLES = (
    ("Write the card to a file:", "tiktrue-keys fleet card -o head-office.card"),
    ("Print the card and the node id:", "tiktrue-keys fleet card"),
)


def command(
    ctx: typer.Context,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="File to write (default: standard output).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> Outcome:
    """Write this keystore's card, for the other side to pin.

    A card is public. The other side compares the node id, which this command shows, before it pins the card: tell it
    over another channel than the one that carries the card.
    """
    context: CommandContext = ctx.obj
    card, line = own_card(context.manager)
    result = {
        "node_id": card.node_id,
        "name": card.name,
        "role": card.role,
        "card": line.decode().rstrip("\n"),
        "path": output,
    }
    messages = [f"'{card.name}' is {'a node' if card.role == 'node' else 'an issuer'}.", f"Node id: {card.node_id}"]
    if output in (None, "-"):
        return Outcome(result=result, view=[Raw(line.decode())], messages=messages)
    path, gate = Path(output or ""), context.manager.output_gate()
    (replace_bytes if force else create_bytes)(path, line, _MODE, gate=gate, what="the card")
    return Outcome(result=result, view=[Line(card.node_id)], messages=messages[:1], ids=[card.node_id], changed=True)
