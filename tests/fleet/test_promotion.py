"""A successor published ahead: pending everywhere, in force when the nodes have it."""

from __future__ import annotations

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.core.findings.finding import Finding
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.fleet.housekeeping import Promoted, promote_ready
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


def test_it_waits_for_the_laggard_a_day_and_no_longer(published: Fleet) -> None:
    published.deliver(["n1", "n2"])
    published.clock.forward(days=2, seconds=-1)
    assert published.sync().promoted == ()
    assert [each.id for each in overdue(published)] == ["promotion-overdue"]
    published.clock.forward(seconds=1)
    done = published.sync()
    assert [(each.code, each.message.partition(" was ")[2]) for each in done.warnings] == [
        ("promoted-unacknowledged", "promoted although n3 had not acknowledged it")
    ]
    assert done.promoted == (published.key,)
    assert overdue(published) == []


def overdue(fleet: Fleet) -> list[Finding]:
    return [each for each in fleet.admin.status().findings if each.id == "promotion-overdue"]


def test_the_operator_may_end_the_wait(published: Fleet) -> None:
    published.deliver(["n1", "n2"])
    published.clock.forward(days=1)
    assert published.sync().promoted == ()
    assert len(published.sync(promote_anyway=True).promoted) == 1


def test_a_short_lived_successor_waits_for_a_tenth_of_its_lifetime(fleet: Fleet) -> None:
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True, prepublish=0, lifetime=DAY)
    fleet.sync()
    fleet.clock.forward(seconds=DAY // 10 - 1)
    assert fleet.sync().promoted == ()
    fleet.clock.forward(seconds=1)
    assert len(fleet.sync().promoted) == 1


def test_without_a_transport_the_wait_ends_too(published: Fleet) -> None:
    published.clock.forward(days=2)
    done = promote_ready(published.admin)
    assert [key.key_id for key in done.keys] == [published.key.key_id]
    assert "although n1, n2, n3 had not" in done.warnings[0].message
    assert promote_ready(published.admin) == Promoted((), ())


def test_the_periods_count_from_the_promotion(published: Fleet) -> None:
    """On the issuer and on every node, whenever it got the key; the next successor has the same lifetime."""
    published.deliver(["n1", "n2"])
    pending = published.admin.chain("llama")[1]
    published.clock.forward(days=2)
    (promoted,) = published.sync().promoted
    later = published.clock.now - pending.created_at
    assert promoted.expires_at == pending.expires_at + later
    assert promoted.decrypt_until == pending.decrypt_until + later
    assert promoted.lifetime == pending.lifetime
    published.deliver()
    for name in published.nodes:
        there = published.nodes[name].find("llama")
        assert (there.key_id, there.expires_at) == (promoted.key_id, promoted.expires_at)
        assert there.decrypt_until == promoted.decrypt_until
    rotated = published.admin.rotate(["llama"], license_key=LICENSE).rotations[0].new
    assert rotated is not None
    assert rotated.lifetime == pending.lifetime


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
