"""`binding test`: asks each device to open the keystore."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import worst
from tiktrue_keys.cli.view.bound_ways import name_of, way_of
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.errors import TikTrueKeysError

EXAMPLES = (
    ("Open the keystore by every way that it has:", "tiktrue-keys binding test"),
    ("Open it by the host secret alone:", "tiktrue-keys binding test host-secret"),
)


def command(
    ctx: typer.Context,
    way: Annotated[
        str | None,
        typer.Argument(metavar="[WAY]", help="Way to test: host-secret, tpm2, pkcs11 or transit (default: each)."),
    ] = None,
) -> Outcome:
    """Open the keystore by each way, and say which ones work.

    Run it after a change of firmware, a token or a server's policy, while another way still opens the keystore. The
    exit code is that of the worst way. Changes nothing and records nothing.
    """
    context: CommandContext = ctx.obj
    manager = context.manager
    ways = [each.way for each in manager.bound_ways()] if way is None else [way_of(way)]
    errors: dict[str, TikTrueKeysError] = {}
    for each in ways:
        try:
            manager.try_way(each)
        except TikTrueKeysError as error:
            errors[each] = error
    rows = [(name_of(each), errors[each].message if each in errors else "opens") for each in ways]
    return Outcome(
        result={
            "ways": [
                {
                    "way": name_of(each),
                    "opens": each not in errors,
                    "error": error_json(errors[each]) if each in errors else None,
                }
                for each in ways
            ]
        },
        view=[Table(("way", "result"), rows)],
        ids=[name_of(each) for each in ways if each not in errors],
        error=worst(errors.values()),
    )
