"""`fleet send`: sends keys to nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.fleet import NOT_SENT, VIA_HELP, transport_if_given
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.fleet.send import send_pending
from tiktrue_keys.fleet.sync import Distributed, distribute

EXAMPLES = (
    (
        "Send the active key of a model to one node:",
        "tiktrue-keys fleet send llama-7b --to gpu-1 --via spool:/mnt/spool",
    ),
    (
        "Bring every node up to date, also those that joined late:",
        "tiktrue-keys fleet send --all --via spool:/mnt/spool",
    ),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", help="Key or model id to send (default: every key in use that was sent before)."),
    ] = None,
    to: Annotated[list[str] | None, typer.Option(metavar="NODE", help="Node to send to (repeatable).")] = None,
    every: Annotated[bool, typer.Option("--all", help="Send to every node.")] = False,
    via: Annotated[str | None, typer.Option(metavar="TRANSPORT", help=VIA_HELP)] = None,
) -> Outcome:
    """Send keys to nodes, each sealed to that node's machine.

    Reads the license. Without KEY it sends every key that some node was sent before and that is still in use, so that a
    node that joined late catches up. A key that was never sent must be named. Envelopes that cannot be sent now stay in
    the outbox, and fleet sync sends them.
    """
    context: CommandContext = ctx.obj
    with transport_if_given(context, via) as transport:
        manager, license_key = context.writer, context.license()
        queued = distribute(
            manager, keys or (), to=tuple(to or ()), every_node=every, operation_id=context.operation_id
        )
        sent = send_pending(manager, transport, license_key=license_key) if transport else None
    warnings: list[Notice] = [*queued.warnings, *(sent.warnings if sent else ())]
    if sent is None:
        warnings.append(NOT_SENT)
    envelopes = sent.envelopes if sent else 0
    rows = [(key.key_id, key.status.value, str(len(queued.nodes))) for key in queued.keys]
    return Outcome(
        result={"keys": keys_json(manager, queued.keys), "nodes": list(queued.nodes), "envelopes": envelopes},
        view=[Table(("key", "status", "nodes"), rows)] if rows else [],
        messages=[f"{_queued(queued)}; sent {plural(envelopes, 'envelope')}."],
        ids=[key.key_id for key in queued.keys],
        changed=queued.changed,
        operation_id=queued.operation_id,
        warnings=warnings,
    )


def _queued(queued: Distributed) -> str:
    return f"Queued {plural(len(queued.keys), 'key')} for {plural(len(queued.nodes), 'node')}"
