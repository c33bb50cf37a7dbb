"""`show`: everything about one key."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.keys import container_json, container_table, key_json, promotions
from tiktrue_keys.cli.view.outcome import Block, Fields, Line, Outcome, Tree
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey

EXAMPLES = (
    ("Show the active key of a model:", "tiktrue-keys show llama-7b"),
    ("Show a key by its id, as JSON:", "tiktrue-keys show llama-7b_0123456789abcdef --json"),
)


def command(
    ctx: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Key id, model id, or the first 8 hex digits of a key id's last part.")
    ],
) -> Outcome:
    """Show a key, its rotation chain and the containers that need it.

    Reads no license and records nothing.
    """
    context: CommandContext = ctx.obj
    found = context.manager.find(key)
    chain = context.manager.chain(found.key_id)
    containers = context.manager.containers(found.key_id)
    described = key_json(found, len(containers))
    view: list[Block] = [
        Fields(
            [
                *((name.replace("_", " "), _cell(value)) for name, value in described.items()),
                *(("promotion", words) for words in promotions(context.manager, [found]).values()),
            ]
        ),
        Line(""),
        _chain_tree(chain, found),
    ]
    if containers:
        view += [Line(""), container_table(containers)]
    return Outcome(
        result={
            "keys": [described],
            "chain": [
                {"key_id": each.key_id, "generation": each.generation, "status": each.status.value} for each in chain
            ],
            "containers": [container_json(record) for record in containers],
        },
        view=view,
        ids=[found.key_id],
    )


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in sorted(value.items()))
    return "" if value is None else str(value)


def _chain_tree(chain: tuple[ManagedKey, ...], found: ManagedKey) -> Tree:
    """The chain, oldest first, each successor under the key that it follows."""
    branch: tuple[Tree, ...] = ()
    for each in reversed(chain):
        here = " <- this key" if each.key_id == found.key_id else ""
        branch = (Tree(f"{each.generation} {each.key_id} {each.status.value} since {_since(each)}{here}", branch),)
    return branch[0]


def _since(key: ManagedKey) -> str:
    """The instant of the last operation on the key."""
    return rfc3339(key.destroyed_at or key.revoked_at or key.rotated_at or key.created_at) or ""
