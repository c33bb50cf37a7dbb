"""`binding list`: what opens the keystore on this machine."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.bound_ways import name_of
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.notices import plural

EXAMPLES = (
    ("List what opens the keystore:", "tiktrue-keys binding list"),
    ("Read it in a script:", "tiktrue-keys binding list --json"),
)


def command(ctx: typer.Context) -> Outcome:
    """List what opens the keystore on this machine.

    That is the host secret, or the devices that took its place. Each one opens the keystore by itself, with the
    machine's facts where they count. Asks no device; binding test does.
    """
    context: CommandContext = ctx.obj
    found = context.manager.bound_ways()
    rows = [
        (
            name_of(each.way),
            "count" if each.takes_facts else "do not count",
            "enabled" if each.enabled else "not enabled on this machine",
        )
        for each in found
    ]
    return Outcome(
        result={
            "ways": [
                {
                    "way": name_of(each.way),
                    "facts": each.takes_facts,
                    "enabled": each.enabled,
                    "slots": each.slots,
                    "sealed_bytes": each.blob,
                }
                for each in found
            ]
        },
        view=[Table(("way", "machine's facts", "state"), rows)],
        messages=[f"{plural(len(found), 'way')} to open this keystore here."],
        ids=[name_of(each.way) for each in found],
    )
