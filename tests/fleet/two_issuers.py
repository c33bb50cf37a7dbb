"""A node with two issuers, and what the second one sends when an attacker has it: any key under any id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.fleet.fleet import Fleet, fleet_in_memory
from tiktrue_keys.core.dispatch.outbox import PROMOTE, queue
from tiktrue_keys.core.keys.keyring import add_key, put_heads
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.wrapping import wrap_managed_key
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import KeyId, ModelId, model_of, new_operation_id
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import describe, pin
from tiktrue_keys.fleet.sync import Synced, distribute, sync

SECRET = b"B" * 16 + bytes(range(16))


class TwoIssuers(Fleet):
    """`admin` speaks for llama, `other` for vision/*, on the node n1."""

    other: KeyManager

    def join_other(self) -> None:
        """Make the second issuer, and pin both ways."""
        self.other = self._desk("other").manager()
        self.other.generate("vision/clip", no_license=True)
        init_node(self.other, "branch")
        node = self.nodes["n1"]
        card, theirs = parse_card(own_card(self.other)[1]), parse_card(own_card(node)[1])
        keeps = {self.node_id(self.admin): ["llama*"]}
        pin(node, card, expect=card.node_id, role="issuer", models=["vision/*"], keeps=keeps)
        pin(self.other, theirs, expect=theirs.node_id)

    def plant(self, key_id: str, **changed: Any) -> ManagedKey:
        """Put a key under any id into the second issuer's keystore, with a secret of its own choice."""
        like = self.other.find("vision/clip")
        with self.other.session.write(new_operation_id()) as transaction:
            model_id = ModelId(model_of(KeyId(key_id)))
            key = replace(like, key_id=KeyId(key_id), model_id=model_id, **changed)
            with SecretBuffer.copy_of(SECRET) as secret:
                add_key(transaction, key, wrap_managed_key(self.other.session.root_keys, key, secret, None))
            put_heads(transaction.rows, model_id, [key.key_id])
            transaction.record("generate", key_id=key.key_id)
        return key

    def promote_from_other(self, key_id: str) -> None:
        """Send the promotion of any key to n1."""
        with self.other.session.write(new_operation_id()) as transaction:
            transaction.record("promote", key_id=key_id)
            queue(transaction, PROMOTE, [self.node_id(self.nodes["n1"])], key_id=key_id, generation=2)
        self.send_from_other()

    def send_from_other(self, keys: Sequence[str] = ()) -> Synced:
        """Send keys, and whatever else waits, to n1."""
        if keys:
            distribute(self.other, keys, to=["n1"])
        return sync(self.other, self.transport)

    def refused_at_other(self) -> list[str]:
        """What the second issuer is shown of the node's refusals."""
        sync(self.other, self.transport)
        return [each.reason for each in describe(self.other, "n1")[1].refusals]


@contextmanager
def two_issuers() -> Iterator[TwoIssuers]:
    """The fleet, with llama delivered."""
    with fleet_in_memory("n1", kind=TwoIssuers) as fleet:
        assert isinstance(fleet, TwoIssuers)
        distribute(fleet.admin, ["llama"], every_node=True)
        fleet.deliver()
        fleet.join_other()
        yield fleet
