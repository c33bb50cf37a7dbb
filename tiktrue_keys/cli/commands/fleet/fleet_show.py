"""`fleet show`: one peer."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.fleet_status import peer_json
from tiktrue_keys.cli.view.outcome import Fields, Outcome
from tiktrue_keys.core.dispatch.node_progress import Refused
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer
from tiktrue_keys.core.dispatch.scopes import scope_text
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.fleet.pin import describe

EXAMPLES = (
    ("Show a node:", "tiktrue-keys fleet show gpu-1"),
    ("Print it as JSON:", "tiktrue-keys fleet show gpu-1 --json"),
)


def command(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name or node id.")],
) -> Outcome:
    """Show a node or an issuer, and the keys that were sent to it or came from it.

    Also shows what a node has refused. An issuer that was removed can still be shown.
    """
    context: CommandContext = ctx.obj
    peer, progress, keys = describe(context.manager, node)
    rows = [
        ("name", peer.name),
        ("role", peer.role),
        ("node id", peer.node_id),
        ("keystore", peer.keystore_id),
        ("models", "" if peer.scope is None else scope_text(peer.scope)),
        ("added", rfc3339(peer.added_at) or ""),
        ("removed", _removed(peer)),
        ("acknowledged", "" if peer.role == ISSUER else f"{progress.acked} of {progress.issued} envelopes"),
        ("blocked", progress.blocked),
        ("conflict", progress.conflict),
        *(("refused", _refused(each)) for each in progress.refusals),
        ("keys", " ".join(keys)),
    ]
    return Outcome(
        result=peer_json(peer, progress) | {"keys": keys},
        view=[Fields([(name, text) for name, text in rows if text])],
        ids=[peer.node_id],
    )


def _refused(refused: Refused) -> str:
    which = f"envelope {refused.number}" if refused.number else "an earlier envelope"
    return f"{which}: {refused.reason}{' (accepted)' if refused.accepted else ''}"


def _removed(peer: Peer) -> str:
    """When an issuer was removed, and whether as compromised."""
    if not peer.retired_at:
        return ""
    return f"{rfc3339(peer.retired_at)}{', compromised' if peer.compromised_at else ''}"
