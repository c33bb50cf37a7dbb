"""`fleet send`: sends keys to nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.fleet import VIA_HELP, transport_if_given
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.fleet.send import send_pending
from tiktrue_keys.fleet.sync import Distributed, distribute


def command(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Keys or models (all that the fleet uses).")
    ] = None,
    to: Annotated[list[str] | None, typer.Option(metavar="NODE", help="To this node; may be repeated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="To every node.")] = False,
    via: Annotated[str | None, typer.Option(metavar="TRANSPORT", help=VIA_HELP)] = None,
) -> Outcome:
    """Send keys to nodes, each sealed to that node's machine.

    Reads the license. Without KEY, everything that the fleet was ever sent and still uses: a node that joined late has
    caught up then. What cannot be sent now stays in the outbox, and fleet sync sends it.
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
        warnings.append(Notice("not-sent", "nothing was sent yet: give --via, or run fleet sync --via TRANSPORT"))
    envelopes = sent.envelopes if sent else 0
    rows = [(key.key_id, key.status.value, str(len(queued.nodes))) for key in queued.keys]
    return Outcome(
        result={"keys": keys_json(manager, queued.keys), "nodes": list(queued.nodes), "envelopes": envelopes},
        view=[Table(("key", "status", "nodes"), rows)] if rows else [],
        messages=[f"{_queued(queued)}, sent {plural(envelopes, 'envelope')}"],
        ids=[key.key_id for key in queued.keys],
        changed=queued.changed,
        operation_id=queued.operation_id,
        warnings=warnings,
    )


def _queued(queued: Distributed) -> str:
    return f"queued {plural(len(queued.keys), 'key')} for {plural(len(queued.nodes), 'node')}"
