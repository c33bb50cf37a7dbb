"""`fleet init`: gives this keystore its name in the fleet."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.ephemeral import Ephemeral
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.fleet.own_identity import init_node

EXAMPLES = (
    ("Name the keystore that issues keys:", "tiktrue-keys fleet init head-office --role issuer"),
    ("Create the keystore of a node, on the node:", "tiktrue-keys fleet init gpu-1 --role node"),
)


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name by which other machines know this keystore.")],
    role: Annotated[
        Literal["node", "issuer"] | None,
        typer.Option(
            metavar="ROLE",
            help="Role here: issuer, which sends keys, or node, which gets them (default: issuer if it has keys).",
        ),
    ] = None,
    ephemeral: Ephemeral = False,
) -> Outcome:
    """Give this keystore its name and its role in the fleet.

    Creates the keystore if there is none. The role stands in the keystore's card: those who pin an issuer's card follow
    its keys, its revocations and its signatures. A keystore without keys of its own needs --role. Prints the node id.
    """
    context: CommandContext = ctx.obj
    context.confirm_storage(ephemeral=ephemeral)
    made = init_node(context.manager, name, role=role, operation_id=context.operation_id)
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
        warnings=made.warnings,
    )
