"""`fleet sync`: one round with the fleet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Annotated

import typer

from tiktrue_keys.cli.commands.fleet.fleet_status import status_view
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.fleet import VIA_HELP, transport_of
from tiktrue_keys.cli.view.fleet_status import status_json
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.core.instants import parse_duration
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP
from tiktrue_keys.core.notices import plural
from tiktrue_keys.fleet.sync import Synced, sync, sync_until

EXAMPLES = (
    ("Run one round, from a timer:", "tiktrue-keys fleet sync --via spool:/mnt/spool"),
    ("Wait up to five minutes for all nodes:", "tiktrue-keys fleet sync --via spool:/mnt/spool --wait 5m"),
)
EXIT_STATUS = {
    7: "Some nodes lack or refused something, went back to an older state, or were unheard for a day; they are named.",
    12: "The transport cannot be reached.",
}


def command(
    ctx: typer.Context,
    via: Annotated[str | None, typer.Option(metavar="TRANSPORT", help=VIA_HELP)] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long to wait for all nodes to have everything (default: one round)."
        ),
    ] = None,
    promote_anyway: Annotated[
        bool, typer.Option("--promote-anyway", help="Activate due successors even if nodes have not acknowledged them.")
    ] = False,
    resend: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE", help="Node to send everything that it should hold once more (repeatable)."),
    ] = None,
    accept_refusals: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE", help="Node whose refusals until now are to be left so (repeatable)."),
    ] = None,
) -> Outcome:
    """Read acknowledgements, promote keys, renew revocation lists and send the queue.

    A node that went back to an older state, because its machine was put back or its keystore was restored, is sent all
    that it lacks: revocations first. Every node is asked for its state; its answer is read by the next sync. Reads the
    license when a licensed key has to be sent.
    """
    context: CommandContext = ctx.obj
    operation: Callable[..., Synced] = sync if wait is None else partial(sync_until, seconds=parse_duration(wait))
    with closing(transport_of(context, via)) as transport:
        done = operation(
            context.writer,
            transport,
            license_key=context.license(),
            promote_anyway=promote_anyway,
            resend=tuple(resend or ()),
            accept_refusals=tuple(accept_refusals or ()),
            overlap=context.duration(None, "rotate.overlap", DEFAULT_OVERLAP),
            operation_id=context.operation_id,
        )
    return Outcome(
        result=status_json(done.status)
        | {
            "acknowledged": list(done.collected),
            "envelopes": done.envelopes,
            "keys": keys_json(context.manager, done.promoted),
            "renewed": done.renewed,
        },
        view=status_view(done.status, context.manager.now()),
        messages=_messages(done),
        ids=[each.node_id for each in done.status.laggards],
        changed=done.changed,
        operation_id=done.operation_id,
        warnings=done.warnings,
        error=done.outage or done.status.error(),
    )


def _messages(done: Synced) -> list[str]:
    sent, caught_up = plural(done.envelopes, "envelope"), plural(len(done.collected), "node")
    messages = [f"Sent {sent}; {caught_up} caught up.", *(f"Promoted {key.key_id}" for key in done.promoted)]
    return [*messages, "Renewed the revocation list."] if done.renewed else messages
