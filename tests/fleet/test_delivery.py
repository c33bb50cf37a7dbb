"""From the rotation to the last acknowledgement, over a spool."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE, events
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.errors import NotFoundError, PartialError, RefusedError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import own_card
from tiktrue_keys.fleet.pin import describe, pin
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin

NAMES = ["n1", "n2", "n3"]


def test_a_key_arrives_and_is_the_same_key(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()

    for manager in fleet.nodes.values():
        key = manager.find("llama")
        assert (key.key_id, key.generation, key.status) == (fleet.key.key_id, 1, Status.ACTIVE)
        assert fleet.secret(manager) == fleet.secret(fleet.admin)
    assert fleet_status(fleet.admin).error() is None


def test_a_rotation_reaches_everyone(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    first = fleet.key
    rotated = fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1", "n2", "passer-by"], notify_all=True)
    assert [notice.code for notice in rotated.warnings] == ["undeliverable"]

    event = fleet.admin.rotation_event(first.key_id)
    assert event is not None
    assert (event.notified, event.delivered) == (("n1", "n2", "n3", "passer-by"), ())
    fleet.sync()
    event = fleet.admin.rotation_event(first.key_id)
    assert event is not None
    assert (event.delivered, event.acknowledged) == (("n1", "n2", "n3"), ())
    for name in NAMES:
        fleet.receive(name)
    fleet.sync()
    event = fleet.admin.rotation_event(first.key_id)
    assert event is not None
    assert (event.acknowledged, event.undeliverable) == (("n1", "n2", "n3"), ("passer-by",))
    for manager in fleet.nodes.values():
        old, new = manager.chain("llama")
        assert (old.status, new.status, new.key_id) == (Status.ROTATING, Status.ACTIVE, fleet.key.key_id)
        assert fleet.secret(manager) == fleet.secret(fleet.admin)


def test_status_counts_and_names_laggards(fleet: Fleet) -> None:
    fleet.deliver()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=NAMES)
    fleet.deliver(["n1"])

    status = fleet_status(fleet.admin)
    (way,) = status.on_its_way
    assert (way.label, way.acknowledged, way.total) == (fleet.key.key_id, 1, 3)
    assert [name for name, _ in way.missing] == ["n2", "n3"]
    error = status.error()
    assert isinstance(error, PartialError)
    assert "[1/3]" in error.message
    assert "n2, n3" in error.message


@pytest.mark.parametrize("how", [{"keys": ["llama"]}, {"every": True}, {"due": True}])
def test_a_silent_node_holds_up_no_rotation_and_is_named(fleet: Fleet, how: dict[str, Any]) -> None:
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    fleet.deliver(["n1", "n3"])
    fleet.clock.forward(days=25)
    rotated = fleet.admin.rotate(**how, license_key=LICENSE, notify_all=True)
    (notice,) = (each for each in rotated.warnings if each.code == "node-behind")
    assert (rotated.laggards, notice.message) == (("n2",), "1 node without the rotation before this one: n2")

    fleet.deliver()
    held = fleet.nodes["n2"].chain("llama")
    assert [key.generation for key in held] == [2, 3], "in turn, with nothing left out"
    assert fleet.admin.rotate(["llama"], license_key=LICENSE).laggards == ()


def test_a_node_that_is_gone_holds_nobody_up(fleet: Fleet) -> None:
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    fleet.deliver(["n1", "n3"])
    unpin(fleet.admin, "n2")

    assert fleet.admin.rotate(["llama"], license_key=LICENSE).changed
    with pytest.raises(NotFoundError):
        describe(fleet.admin, "n2")


def test_a_late_joiner_catches_up_by_one_command(fleet: Fleet) -> None:
    fleet.admin.generate("qwen", license_key=LICENSE)
    distribute(fleet.admin, ["llama", "qwen"], every_node=True)
    fleet.deliver()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    fleet.deliver()
    fleet.join("n4")
    distribute(fleet.admin, [], to=["n4"])
    fleet.deliver(["n4"])

    late = fleet.nodes["n4"]
    held = {name: {key.key_id for key in list(fleet.nodes[name].keys())} for name in ("n1", "n4")}
    assert held["n1"] == held["n4"]
    assert len(held["n4"]) == 3
    assert [key.status for key in late.chain("llama")] == [Status.ROTATING, Status.ACTIVE]


def test_a_removed_node_that_comes_back_goes_on(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver(["n1", "n3"])
    card = describe(fleet.admin, "n2")[0]
    unpin(fleet.admin, "n2")
    pin(fleet.admin, parse_card(own_card(fleet.nodes["n2"])[1]), expect=card.node_id)
    distribute(fleet.admin, ["llama"], to=["n2"])
    fleet.deliver()

    assert fleet.nodes["n2"].find("llama").key_id == fleet.key.key_id
    assert fleet_status(fleet.admin).error() is None


def test_what_came_is_rotated_where_it_was_made(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], to=["n1"])
    fleet.deliver(["n1"])
    with pytest.raises(RefusedError, match="came from issuer"):
        fleet.nodes["n1"].rotate(["llama"], license_key=LICENSE)
    card = parse_card(own_card(fleet.nodes["n2"])[1])
    pin(fleet.nodes["n1"], card, expect=card.node_id, role="node")
    with pytest.raises(RefusedError, match="came from issuer"):
        distribute(fleet.nodes["n1"], ["llama"], every_node=True)


def test_every_step_is_in_the_audit_log(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], to=["n1"])
    fleet.deliver(["n1"])

    told = [event for event, outcome in events(fleet.admin) if outcome == "ok"]
    assert [event for event in told if event in ("queue", "distribute", "sent", "acknowledge")] == [
        "queue",
        "distribute",
        "sent",
        "acknowledge",
    ]
    assert events(fleet.nodes["n1"]).count(("receive", "ok")) == 2


def test_a_key_that_no_node_was_ever_sent_goes_only_by_its_name(fleet: Fleet) -> None:
    fleet.admin.generate("secret", no_license=True)

    nothing = distribute(fleet.admin, [], every_node=True)

    assert (nothing.keys, nothing.changed) == ((), False)
    assert [notice.code for notice in nothing.warnings] == ["nothing-queued"]
    distribute(fleet.admin, ["llama"], every_node=True)
    again = distribute(fleet.admin, [], every_node=True)
    assert ([key.model_id for key in again.keys], again.warnings) == (["llama"], ())


def test_without_the_license_a_licensed_key_waits(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], to=["n1"])
    done = fleet.sync(license_key=None)
    assert [notice.code for notice in done.warnings] == ["needs-license"]
    assert done.envelopes == 3  # the revocation lists, which wait for no license
    fleet.sync()
    came = fleet.receive("n1", license_key=None)

    assert [each.error.code for each in came.blocked] == ["usage"]
    assert came.consumed == 1
    assert fleet.receive("n1").keys[0].key_id == fleet.key.key_id
