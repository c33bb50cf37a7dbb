"""Operation ids in a fleet: repeated, an operation gives its first result; another request under its id is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import LICENSE, answers, error_of
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin, pinned
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute, sync, sync_until
from tiktrue_keys.fleet.unpin import unpin

Do = Callable[[Fleet], Any]


@dataclass(frozen=True)
class FleetOperation:
    """An operation at the keystore that `at` gives, what its result tells, and requests that differ from it."""

    name: str
    do: Do
    told: Callable[[Any], Any]
    differing: tuple[Do, ...]
    at: Callable[[Fleet], KeyManager] = lambda fleet: fleet.admin


def initialised(fleet: Fleet, name: str = "fresh", role: str = "node") -> Any:
    return init_node(fleet.nodes["n3"], name, role=role, operation_id="nightly")


def pinned_card(fleet: Fleet, of: str = "n3", expect: str = "", **more: Any) -> Any:
    card = parse_card(own_card(fleet.nodes[of])[1])
    return pin(fleet.admin, card, expect=expect or card.node_id, operation_id="nightly", **more)


def removed(fleet: Fleet, node: str = "n1", **more: Any) -> Any:
    return unpin(fleet.admin, node, operation_id="nightly", **more)


def distributed(fleet: Fleet, *keys: str, **more: Any) -> Any:
    return distribute(fleet.admin, keys, operation_id="nightly", **more)


def accepted(fleet: Fleet, issuer: str = "head-office", expect: str = "") -> Any:
    head = fleet_status(fleet.admin).base.root.hex()
    return accept_epoch(fleet.nodes["n1"], issuer, expect=expect or head, operation_id="nightly")


OPERATIONS = (
    FleetOperation(
        "node-init",
        initialised,
        lambda result: (result.node_id, result.name, result.role),
        (partial(initialised, name="other"), partial(initialised, role="issuer")),
        lambda fleet: fleet.nodes["n3"],
    ),
    FleetOperation(
        "node-add",
        pinned_card,
        lambda result: result.peer,
        (
            partial(pinned_card, of="n2"),
            partial(pinned_card, name="third"),
            partial(pinned_card, role="node"),
        ),
    ),
    FleetOperation(
        "node-remove",
        removed,
        lambda result: (result.peer, result.keys, result.containers, result.warnings),
        (partial(removed, node="n2"), partial(removed, compromised=True)),
    ),
    FleetOperation(
        "distribute",
        lambda fleet: distributed(fleet, "mistral", to=["n1"]),
        lambda result: (result.keys, result.nodes),
        (
            lambda fleet: distributed(fleet, "llama", to=["n1"]),
            lambda fleet: distributed(fleet, to=["n1"]),
            lambda fleet: distributed(fleet, "mistral", to=["n2"]),
            lambda fleet: distributed(fleet, "mistral", every_node=True),
        ),
    ),
    FleetOperation(
        "accept-epoch",
        accepted,
        lambda result: (result.issuer, result.epoch, result.head),
        (partial(accepted, issuer="unknown"), partial(accepted, expect="0" * 64)),
        lambda fleet: fleet.nodes["n1"],
    ),
)
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """n1 and n2 are pinned and have llama, n3 has only been made; the issuer was restored since."""
    with fleet_in_memory("n1", "n2") as made:
        made.admin.generate("mistral", license_key=LICENSE)
        distribute(made.admin, ["llama"], every_node=True)
        made.deliver()
        made.admin.backup(made.folder / "backup.db")
        made.admin.restore(made.folder / "backup.db")
        distribute(made.admin, ["llama"], every_node=True)
        made.sync()
        made.receive("n1")
        desk = made._desk("n3")
        made.desks["n3"], made.nodes["n3"] = desk, desk.manager()
        yield made


def must_be_refused(fleet: Fleet, manager: KeyManager, do: Do) -> None:
    """Refused, naming the operation id; the refusal's record is all that comes of it."""
    before, peers = answers(manager), pinned(manager)
    error = error_of(lambda: do(fleet))
    assert isinstance(error, RefusedError), error
    assert error.message.startswith("operation nightly was used for")
    after = answers(manager)
    assert (after["keys"], after["document"], pinned(manager)) == (before["keys"], before["document"], peers)
    (record,) = after["records"][len(before["records"]) :]
    assert (record.outcome, record.operation_id) == ("refused", "nightly")


def made_ready(fleet: Fleet, operation: FleetOperation) -> None:
    if operation.name != "node-init":
        init_node(fleet.nodes["n3"], "n3", role="node")


@each_operation
def test_repeating_it_gives_the_first_result_and_changes_nothing(fleet: Fleet, operation: FleetOperation) -> None:
    made_ready(fleet, operation)
    first = operation.do(fleet)
    manager = operation.at(fleet)
    size = manager.audit_size()
    again = operation.do(fleet)
    assert operation.told(again) == operation.told(first)
    assert (first.changed, again.changed, again.operation_id) == (True, False, "nightly")
    assert manager.audit_size() == size


@each_operation
def test_another_request_may_not_take_its_id(fleet: Fleet, operation: FleetOperation) -> None:
    made_ready(fleet, operation)
    operation.do(fleet)
    manager = operation.at(fleet)
    for differing in operation.differing:
        must_be_refused(fleet, manager, differing)
    for other in OPERATIONS:
        if other.name != operation.name and other.at(fleet) is manager:
            must_be_refused(fleet, manager, other.do)
    must_be_refused(fleet, manager, lambda _: manager.generate("new", no_license=True, operation_id="nightly"))


class TestRounds:
    """sync and receive do each time what there is to do; their id is theirs all the same."""

    def sync(self, fleet: Fleet, **more: Any) -> Any:
        return sync(fleet.admin, fleet.transport, license_key=LICENSE, operation_id="nightly", **more)

    def test_a_repeated_sync_goes_on(self, fleet: Fleet) -> None:
        distribute(fleet.admin, ["mistral"], to=["n2"])
        assert self.sync(fleet).envelopes == 1
        distribute(fleet.admin, ["llama"], to=["n2"])
        assert self.sync(fleet).envelopes == 1

    def test_its_id_is_taken(self, fleet: Fleet) -> None:
        distribute(fleet.admin, ["mistral"], to=["n2"])
        self.sync(fleet)
        must_be_refused(fleet, fleet.admin, partial(self.sync, promote_anyway=True))
        must_be_refused(fleet, fleet.admin, removed)

    def test_a_sync_that_only_asks_the_nodes_takes_it_too(self, fleet: Fleet) -> None:
        assert not self.sync(fleet).changed
        must_be_refused(fleet, fleet.admin, removed)

    def test_neither_takes_the_id_of_another_operation(self, fleet: Fleet) -> None:
        removed(fleet)
        must_be_refused(fleet, fleet.admin, self.sync)
        must_be_refused(
            fleet, fleet.admin, lambda _: sync_until(fleet.admin, fleet.transport, 0, operation_id="nightly")
        )
        accepted(fleet)
        node = fleet.nodes["n1"]
        must_be_refused(fleet, node, lambda _: receive(node, fleet.transport, operation_id="nightly"))

    def test_without_an_id_nothing_is_taken(self, fleet: Fleet) -> None:
        distribute(fleet.admin, ["mistral"], to=["n2"])
        done = sync_until(fleet.admin, fleet.transport, 0, license_key=LICENSE)
        assert done.envelopes == 1
        assert fleet.admin.generate("new", no_license=True, operation_id=done.operation_id).changed
