"""A rekey in a fleet: the identity stays, the issuer begins an epoch that nodes accept, and everything goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import LICENSE
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with fleet_in_memory("n1") as made:
        distribute(made.admin, ["llama"], every_node=True)
        made.deliver()
        yield made


def test_of_the_issuer(fleet: Fleet) -> None:
    identity = fleet.node_id(fleet.admin)
    result = fleet.admin.rekey()

    assert result.nodes == 1
    assert "new-epoch" in [notice.code for notice in result.warnings]
    assert fleet.node_id(fleet.admin) == identity
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"])
    fleet.sync()
    assert fleet.receive("n1").blocked
    accept_epoch(fleet.nodes["n1"], "head-office", expect=fleet_status(fleet.admin).base.root.hex())
    fleet.deliver()
    assert fleet.nodes["n1"].find("llama").generation == 2
    assert fleet.secret(fleet.nodes["n1"], use=Use.ENCRYPT) == fleet.secret(fleet.admin, use=Use.ENCRYPT)
    (node,) = fleet_status(fleet.admin).nodes
    assert not node.is_behind


def test_what_was_queued_before_it_goes_out_in_the_new_epoch(fleet: Fleet) -> None:
    fleet.admin.revoke(["llama"], reason="leaked")
    fleet.admin.rekey()

    assert fleet.sync().changed
    assert fleet.receive("n1").blocked
    accept_epoch(fleet.nodes["n1"], "head-office", expect=fleet_status(fleet.admin).base.root.hex())
    fleet.deliver()
    (check,) = fleet.nodes["n1"].validate().checks
    assert check.key.status is Status.REVOKED
    assert not fleet.sync().changed


def test_of_a_node(fleet: Fleet) -> None:
    before = fleet.secret(fleet.nodes["n1"])
    fleet.nodes["n1"].rekey(compromised=True)

    assert fleet.secret(fleet.nodes["n1"]) == before
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"])
    fleet.deliver()
    assert fleet.nodes["n1"].find("llama").generation == 2
    assert fleet.nodes["n1"].audit_verify() == fleet.nodes["n1"].audit_size()
    assert [each.id for each in fleet.nodes["n1"].status().findings if each.id == "rekeyed"] == []
