"""`fleet status`: how far the fleet is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.fleet import transport_of
from tiktrue_keys.cli.view.fleet_status import state_of, status_json
from tiktrue_keys.cli.view.outcome import Block, Line, Outcome, Table
from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Refused
from tiktrue_keys.core.dispatch.scopes import ALL, scope_text
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keystore.clock import span
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.fleet.status import FleetStatus, fleet_status

_NODES = ("node", "acknowledged", "heard", "state")

_ISSUERS = ("issuer", "node id", "models")

EXAMPLES = (
    ("Show the fleet:", "tiktrue-keys fleet status"),
    ("Read acknowledgements first, and show one node:", "tiktrue-keys fleet status gpu-1 --via spool:/mnt/spool"),
)
EXIT_STATUS = {
    4: "A node holds a conflicting audit history of this keystore: it was put back from an old copy.",
    7: "Some nodes lack or refused something, went back to an older state, or were unheard for a day; they are named.",
}


def command(
    ctx: typer.Context,
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Name or node id of a node (default: all nodes).")
    ] = None,
    via: Annotated[
        str | None,
        typer.Option(
            metavar="TRANSPORT", help="Where to read acknowledgements first: spool:DIR or etcd://HOST:PORT/PREFIX."
        ),
    ] = None,
) -> Outcome:
    """Show what each node has, what is still waiting, and the pinned issuers.

    After a restore of this keystore, nodes accept its new epoch by the head that is shown here.
    """
    context: CommandContext = ctx.obj
    warnings: list[Notice] = []
    if via is not None:
        from tiktrue_keys.fleet.collect import collect_acknowledgements

        with closing(transport_of(context, via)) as transport:
            warnings += collect_acknowledgements(context.writer, transport).warnings
    status = fleet_status(context.manager, node)
    return Outcome(
        result=status_json(status),
        view=status_view(status, context.manager.now()),
        messages=[] if status.nodes or status.issuers else ["No nodes or issuers."],
        ids=[each.node_id for each in status.laggards],
        warnings=warnings,
        error=status.error(),
    )


def status_view(status: FleetStatus, now: Instant) -> list[Block]:
    """The deliveries that nodes have not acknowledged, the promotions that wait, the nodes."""
    view: list[Block] = [
        Line(f"[{each.acknowledged}/{each.total}] {each.label}; missing: {', '.join(name for name, _ in each.missing)}")
        for each in status.on_its_way
    ]
    view += [Line(f"[{len(each.acknowledged)}/{each.needed}] {_waits(each, now)}") for each in status.waiting]
    rows = [
        (
            each.name,
            f"{each.acked}/{each.issued}",
            (rfc3339(each.heard_at) or "") if each.heard_at else "",
            _state(each, now, status.refused.get(each.node_id, ())),
        )
        for each in status.nodes
    ]
    if rows:
        view.append(Table(_NODES, rows))
    if status.issuers:
        scopes = [(each.name, each.node_id, scope_text(each.scope or ALL)) for each in status.issuers]
        view.append(Table(_ISSUERS, scopes))
    if status.epoch > 1:
        view.append(Line(f"epoch {status.epoch} began with head {status.base.root.hex()}"))
    return view


def _state(node: PeerProgress, now: Instant, refusals: Sequence[Refused]) -> str:
    """How far a node is; that it is up to date holds for the time of its last answer only."""
    state = state_of(node, now, refusals)
    if state == "ok":
        return f"ok {span(max(now - node.heard_at, 0))} ago"
    refused = f"refused {plural(len(refusals), 'envelope')}; the last: {refusals[-1].reason}" if refusals else ""
    if state == "refused":
        return refused
    if state == "went-back":
        return f"went back to an older state at {rfc3339(node.went_back_at)}"
    return (node.conflict or node.blocked or state) + (f", {refused}" if refused else "")


def _waits(waiting: Waiting, now: Instant) -> str:
    """A successor that was published ahead: what it waits for, and what activates it now."""
    key_id, day = waiting.new.key_id, rfc3339(waiting.promote_at)
    if not waiting.missing:
        return f"{key_id} is due at {day}"
    names = ", ".join(waiting.missing)
    if now < waiting.promote_at:
        return f"{key_id} is waiting for {names} (due at {day})"
    latest = rfc3339(waiting.deadline)
    return f"{key_id} is waiting for {names} until {latest} (due since {day}); --promote-anyway activates it now"
