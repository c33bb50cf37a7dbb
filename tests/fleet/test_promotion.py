"""A successor published ahead: pending everywhere, in force when the nodes have it."""

from __future__ import annotations

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.fleet.sync import distribute


@pytest.fixture
def published(fleet: Fleet) -> Fleet:
    """The first key is everywhere; its successor is queued, one day ahead."""
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True, prepublish=DAY)
    return fleet


def states(fleet: Fleet, name: str | None = None) -> list[Status]:
    """The chain's states at the issuer or at a node."""
    manager = fleet.nodes[name] if name else fleet.admin
    return [key.status for key in manager.chain(manager.find("llama"))]


def test_until_its_day_it_is_pending_everywhere(published: Fleet) -> None:
    published.deliver()
    assert states(published) == states(published, "n1") == [Status.ACTIVE, Status.PENDING]
    with pytest.raises(RefusedError):
        published.admin.open_key(published.admin.chain("llama")[1].key_id, LICENSE, use=Use.ENCRYPT)
    assert published.sync().promoted == ()


def test_it_is_promoted_when_everybody_has_it(published: Fleet) -> None:
    published.deliver()
    published.clock.forward(days=1)
    (promoted,) = published.sync().promoted
    assert published.key.key_id == promoted.key_id
    published.deliver()

    for name in published.nodes:
        assert states(published, name) == states(published) == [Status.ROTATING, Status.ACTIVE]


def test_it_waits_for_the_laggard(published: Fleet) -> None:
    published.deliver(["n1", "n2"])
    published.clock.forward(days=2)
    assert published.sync().promoted == ()
    assert len(published.sync(promote_anyway=True).promoted) == 1


def test_enough_is_what_min_acks_says(fleet: Fleet) -> None:
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True, prepublish=0, min_acks=2)
    fleet.sync()
    fleet.receive("n1")
    assert fleet.sync().promoted == ()
    fleet.receive("n2")
    assert len(fleet.sync().promoted) == 1


def test_a_node_that_missed_the_pending_key_gets_it_in_force(published: Fleet) -> None:
    published.deliver(["n1", "n2"])
    published.clock.forward(days=2)
    published.sync(promote_anyway=True)
    published.deliver()
    assert states(published, "n3") == [Status.ROTATING, Status.ACTIVE]


def test_a_revoked_successor_is_never_promoted(published: Fleet) -> None:
    published.deliver()
    pending = published.admin.chain("llama")[1]
    published.admin.revoke([pending.key_id], reason="leaked")
    published.clock.forward(days=2)
    assert published.sync().promoted == ()


def test_min_acks_without_prepublish(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="published ahead"):
        fleet.admin.rotate(["llama"], license_key=LICENSE, min_acks=1)
