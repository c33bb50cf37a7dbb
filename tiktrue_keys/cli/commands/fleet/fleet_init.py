"""`fleet init`: gives this keystore its name in the fleet."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.fleet.own_identity import init_node

EXAMPLES = (
    ("Name the keystore that issues keys:", "tiktrue-keys fleet init head-office"),
    ("Create the keystore of a node, on the node:", "tiktrue-keys fleet init gpu-1"),
)


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name by which other machines know this keystore.")],
) -> Outcome:
    """Give this keystore its name in the fleet.

    Creates the keystore if there is none. A new keystore is a node, which pins the cards of its issuers; a keystore
    that already has keys is an issuer, which pins the cards of its nodes. Prints the node id.
    """
    context: CommandContext = ctx.obj
    made = init_node(context.manager, name, operation_id=context.operation_id)
    messages = [f"Created keystore {context.keystore}"] if made.created_keystore else []
    return Outcome(
        result={
            "node_id": made.node_id,
            "name": made.name,
            "role": made.role,
            "created_keystore": made.created_keystore,
        },
        view=[Line(made.node_id)],
        messages=[*messages, f"'{made.name}' is {'a node' if made.role == 'node' else 'an issuer'}."],
        ids=[made.node_id],
        changed=made.changed,
        operation_id=made.operation_id,
    )
