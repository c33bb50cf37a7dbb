"""An issuer and its nodes, each with a keystore of its own, over one spool; every step by the package's operations."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.keystores import LICENSE, Clock, Desk, folder_in_memory
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.challenges import is_challenge, peek_challenge
from tiktrue_keys.fleet.envelopes import peek
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.receive_result import Received
from tiktrue_keys.fleet.sync import Synced, sync
from tiktrue_keys.fleet.transports.interface import Junk, Posted, Transport
from tiktrue_keys.fleet.transports.spool import Spool


class Fleet:
    """`admin` issues; `nodes` by name receive. One clock for all."""

    def __init__(self, folder: Path, stack: ExitStack, transport: Transport | None = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.transport = transport or new_spool(folder)
        self._stack = stack
        self.admin_desk = self._desk("admin")
        self.admin = self.admin_desk.manager()
        self.admin.generate("llama", license_key=LICENSE)
        init_node(self.admin, "head-office")
        self.desks: dict[str, Desk] = {}
        self.nodes: dict[str, KeyManager] = {}

    @property
    def key(self) -> ManagedKey:
        """The issuer's active key."""
        return self.admin.find("llama")

    def node_id(self, manager: KeyManager) -> str:
        """The node id of a keystore."""
        return own_card(manager)[0].node_id

    def join(self, *names: str) -> None:
        """Make nodes, and pin both ways."""
        for name in names:
            desk = self._desk(name)
            manager = desk.manager()
            made = init_node(manager, name, role="node")
            self.desks[name], self.nodes[name] = desk, manager
            card = parse_card(own_card(manager)[1])
            pin(self.admin, card, expect=made.node_id)
            admin = parse_card(own_card(self.admin)[1])
            pin(manager, admin, expect=admin.node_id, role="issuer")

    def sync(self, **more: Any) -> Synced:
        """One round at the issuer."""
        return sync(self.admin, self.transport, **({"license_key": LICENSE} | more))

    def receive(self, name: str, **more: Any) -> Received:
        """One round at a node."""
        return receive(self.nodes[name], self.transport, **({"license_key": LICENSE} | more))

    def deliver(self, names: Sequence[str] | None = None) -> Synced:
        """Out, in and back."""
        self.sync()
        for name in self.nodes if names is None else names:
            assert not self.receive(name).blocked
        return self.sync()

    def secret(self, manager: KeyManager, key: str = "llama", use: Use = Use.DECRYPT) -> bytes:
        """A key's secret bytes, as whoever may open it sees them."""
        with manager.open_key(key, LICENSE, use=use) as opened:
            return bytes(opened.secret.view)

    def lines(self, name: str) -> list[bytes]:
        """The envelopes that lie in the transport for a node, in their order."""
        found = (line for line in self._collect(name) if not is_challenge(line))
        return sorted(found, key=lambda line: (peek(line).place, peek(line).issued_at))

    def challenges(self, name: str) -> list[bytes]:
        """The challenges that lie there, the newest last."""
        return sorted((line for line in self._collect(name) if is_challenge(line)), key=peek_challenge)

    def _collect(self, name: str) -> Iterable[bytes]:
        return self.transport.collect(self.node_id(self.admin), self.node_id(self.nodes[name]), (0, 0, 0), Junk())

    def post(self, name: str, *lines: bytes) -> None:
        """Put lines in the way of a node, as anybody can who may write to the transport."""
        posts = [Posted(self.node_id(self.nodes[name]), (1, 1, 99 + number), line) for number, line in enumerate(lines)]
        self.transport.publish(self.node_id(self.admin), 1, posts, unsigned)

    def lose_lines(self) -> None:
        """Everything that lies in the spool for the nodes is lost."""
        for path in (self.folder / "spool" / self.node_id(self.admin)).glob("[0-9]*"):
            shutil.rmtree(path)

    def acknowledgement(self, name: str) -> bytes:
        """What a node acknowledged last."""
        issuer, node_id = self.node_id(self.admin), self.node_id(self.nodes[name])
        ((_, line),) = self.transport.acknowledgements(issuer, [node_id], Junk())
        return line

    def _desk(self, name: str) -> Desk:
        desk = self._stack.enter_context(Desk(self.folder / name))
        desk.clock = self.clock
        return desk


def unsigned(message: bytes) -> bytes:
    """What an attacker signs with."""
    return bytes(64)


def new_spool(folder: Path) -> Spool:
    """A spool whose folder its administrator has made."""
    (folder / "spool").mkdir(exist_ok=True)
    return Spool(folder / "spool")


@contextmanager
def fleet_in_memory(
    *names: str, transport: Transport | None = None, kind: type[Fleet] | None = None
) -> Iterator[Fleet]:
    """A fleet in a folder that lives in memory."""
    with folder_in_memory() as folder, ExitStack() as stack:
        made = (kind or Fleet)(folder, stack, transport)
        made.join(*names)
        yield made
