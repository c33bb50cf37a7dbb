"""Options and files that the fleet's commands share: `--via`, and cards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.core.durable import ANOTHER_FILE, read_capped
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from tiktrue_keys.fleet.cards import Card
    from tiktrue_keys.fleet.transports.interface import Transport


VIA_HELP = "How to reach the fleet: spool:DIR or etcd://HOST:PORT/PREFIX (default: the setting fleet.via)."
NOT_SENT = Notice(
    "not-sent", "the nodes were not notified yet: use --via, or run tiktrue-keys fleet sync --via TRANSPORT"
)
_CREDENTIALS = ("user", "password_file", "ca", "cert", "key")


def has_transport(context: CommandContext, via: str | None) -> bool:
    """Return whether an option or the configuration names a transport."""
    return (via if via is not None else context.settings.get("fleet.via")) is not None


def transport_of(context: CommandContext, via: str | None) -> Transport:
    """Return the transport of `--via`, else of the configuration. Raises UsageError without either."""
    from tiktrue_keys.fleet.transports import open_transport

    address = via if via is not None else context.settings.get("fleet.via")
    if address is None:
        raise UsageError("no transport", "use --via spool:DIR, or set fleet.via")
    given = {name: context.settings.get(f"fleet.{name}") for name in _CREDENTIALS}
    return open_transport(address, {name: value for name, value in given.items() if value is not None})


@contextmanager
def transport_if_given(context: CommandContext, via: str | None) -> Iterator[Transport | None]:
    """Yield the transport of `--via` or of the configuration, or None without either."""
    if not has_transport(context, via):
        yield None
        return
    with closing(transport_of(context, via)) as transport:
        yield transport


def read_card(context: CommandContext, path: str) -> Card:
    """Return a card from a file, or from standard input for `-`."""
    from tiktrue_keys.fleet.cards import MAX_CARD, parse_card

    if path != "-":
        if not path or "\0" in path:
            raise UsageError("the name of the card's file is empty")
        return parse_card(read_capped(Path(path), MAX_CARD, "the card", hint=ANOTHER_FILE))
    context.claim_stdin("the card")
    data = sys.stdin.buffer.read(MAX_CARD + 1)
    if len(data) > MAX_CARD:
        raise IntegrityError(f"the card is longer than {MAX_CARD} bytes", ANOTHER_FILE)
    return parse_card(data)
