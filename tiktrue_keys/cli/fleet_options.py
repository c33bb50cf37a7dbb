"""What the commands of the fleet share: `--via`, names as JSON and rows, a card from a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktrue_keys.cli.session import Session
from tiktrue_keys.core.dispatch.peers import Peer, Progress
from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from tiktrue_keys.fleet.cards import Card
    from tiktrue_keys.fleet.status import FleetStatus
    from tiktrue_keys.fleet.transports.interface import Transport

VIA_HELP = "spool:DIR or etcd://HOST:PORT/PREFIX."
_CREDENTIALS = ("user", "password_file", "ca", "cert", "key")


def has_transport(session: Session, via: str | None) -> bool:
    """Whether it was said how to reach the fleet."""
    return (via if via is not None else session.settings.get("fleet.via")) is not None


def transport_of(session: Session, via: str | None) -> Transport:
    """The transport of `--via`, else of the configuration; UsageError when neither says one."""
    from tiktrue_keys.fleet.transports import open_transport

    address = via if via is not None else session.settings.get("fleet.via")
    if address is None:
        raise UsageError("say how the fleet is reached", "--via spool:DIR, or fleet.via in the configuration")
    given = {name: session.settings.get(f"fleet.{name}") for name in _CREDENTIALS}
    return open_transport(address, {name: value for name, value in given.items() if value is not None})


@contextmanager
def transport_if_given(session: Session, via: str | None) -> Iterator[Transport | None]:
    """The transport of `--via` or of the configuration for the length of a block; None when neither says one."""
    if not has_transport(session, via):
        yield None
        return
    with closing(transport_of(session, via)) as transport:
        yield transport


def read_card(session: Session, path: str) -> Card:
    """A card from a file, or from standard input for `-`."""
    from tiktrue_keys.fleet.cards import MAX_CARD, parse_card

    if path != "-":
        if not path or "\0" in path:
            raise UsageError("the card has no name")
        return parse_card(read_capped(Path(path), MAX_CARD, "the card"))
    session.claim_stdin("the card")
    data = sys.stdin.buffer.read(MAX_CARD + 1)
    if len(data) > MAX_CARD:
        raise IntegrityError(f"the card is longer than {MAX_CARD} bytes")
    return parse_card(data)


def peer_json(peer: Peer, progress: Progress | None = None) -> dict[str, Any]:
    """A member of `result.nodes`."""
    described: dict[str, Any] = {
        "node_id": peer.node_id,
        "name": peer.name,
        "role": peer.role,
        "keystore_id": peer.keystore_id,
        "added_at": rfc3339(peer.added_at),
    }
    return described if progress is None else described | progress_json(progress)


def progress_json(progress: Progress) -> dict[str, Any]:
    """How far a node is; `pending` is how many envelopes it lacks."""
    return {
        "node_id": progress.node_id,
        "name": progress.name,
        "issued": progress.issued,
        "sent": progress.sent,
        "acknowledged": progress.acked,
        "pending": progress.issued - progress.acked,
        "sent_at": _when(progress.sent_at),
        "seen_at": _when(progress.seen_at),
        "blocked": progress.blocked or None,
        "conflict": progress.conflict or None,
        "refusals": [{"number": number, "reason": reason} for number, reason in progress.refusals],
    }


def status_json(status: FleetStatus) -> dict[str, Any]:
    """`result` of `node status` and `fleet sync`."""
    return {
        "node_id": status.node_id,
        "epoch": {"number": status.epoch, "size": status.base.size, "head": status.base.root.hex()},
        "audit": {"size": status.head.size, "head": status.head.root.hex()},
        "nodes": [progress_json(each) for each in status.nodes],
        "deliveries": [
            {
                "kind": each.dispatch.kind,
                "key_id": each.dispatch.key_id or None,
                "list_number": each.dispatch.list_number or None,
                "acknowledged": each.acknowledged,
                "total": each.total,
                "missing": [{"name": name, "state": state} for name, state in each.missing],
            }
            for each in status.on_its_way
        ],
        "pending": [
            {
                "key_id": each.new.key_id,
                "predecessor": each.old.key_id,
                "promote_at": rfc3339(each.promote_at),
                "needed": each.needed,
                "acknowledged": list(each.acknowledged),
                "missing": list(each.missing),
            }
            for each in status.waiting
        ],
    }


def _when(instant: int) -> str | None:
    return rfc3339(instant) if instant else None
