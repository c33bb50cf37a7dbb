"""The rounds of the fleet keep time too: they renew the heartbeat, also when there is nothing to send or to receive."""

from __future__ import annotations

import json

import pytest

from tests.core.keystore.test_drift_reseal import NEW_CARD, SERVER
from tests.fleet.fleet import Fleet
from tests.keystores import NOON, Desk
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.sync import sync


def heartbeat(desk: Desk) -> int | None:
    found: int | None = json.loads(desk.mark.read_bytes()).get("heartbeat")
    return found


def test_a_round_renews_it_on_both_sides(fleet: Fleet) -> None:
    """The issuer records that it has sent challenges, and nothing else; the node records nothing."""
    fleet.deliver()
    fleet.clock.forward(days=1)
    sizes = fleet.admin.audit_size(), fleet.nodes["n1"].audit_size()
    assert not fleet.sync().changed
    assert not fleet.receive("n1").changed
    assert heartbeat(fleet.admin_desk) == heartbeat(fleet.desks["n1"]) == NOON + DAY
    assert (fleet.admin.audit_size(), fleet.nodes["n1"].audit_size()) == (sizes[0] + 1, sizes[1])


def test_an_outage_of_the_transport_does_not_stop_it(fleet: Fleet) -> None:
    class Gone:
        def __getattr__(self, name: str) -> object:
            raise UnavailableError("the transport is gone")

    fleet.clock.forward(days=1)
    with pytest.raises(UnavailableError):
        receive(fleet.nodes["n1"], Gone())  # type: ignore[arg-type]
    assert heartbeat(fleet.desks["n1"]) == NOON + DAY


def test_a_doubtful_clock_is_a_warning_and_does_not_renew_it(fleet: Fleet) -> None:
    fleet.deliver()
    written = heartbeat(fleet.admin_desk), heartbeat(fleet.desks["n1"])
    fleet.clock.forward(days=31)
    with (
        fleet.admin_desk.manager(synchronised=lambda: False) as admin,
        fleet.desks["n1"].manager(synchronised=lambda: False) as node,
    ):
        for done in (receive(node, fleet.transport), sync(admin, fleet.transport)):
            assert "clock-unconfirmed" in {notice.code for notice in done.warnings}
    assert (heartbeat(fleet.admin_desk), heartbeat(fleet.desks["n1"])) == written


def test_a_node_without_a_license_seals_to_its_new_part(fleet: Fleet) -> None:
    machine = [SERVER]
    with Desk(fleet.folder / "n9") as desk:
        desk.clock = fleet.clock
        node = KeyManager(session=desk.session(lambda: machine[0]))
        init_node(node, "n9", role="node")
        admin = parse_card(own_card(fleet.admin)[1])
        pin(node, admin, expect=admin.node_id, role="issuer")
        fleet.clock.forward(days=1)
        machine[0] = NEW_CARD
        codes = [{notice.code for notice in receive(node, fleet.transport).warnings} for _ in range(2)]
        assert [sorted(each & {"resealed"}) for each in codes] == [["resealed"], []]
        assert node.status().standing.drift.names() == ()
