"""A restore of an older backup brings neither an older release back nor a withdrawn container."""

from __future__ import annotations

from tests.core.dispatch.test_releases import entry, identity
from tests.fleet.fleet import fleet_in_memory
from tests.fleet.test_releases import known, release
from tiktrue_keys.core.dispatch.releases import Standing
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.status import fleet_status


def test_the_newer_release_stands_and_the_nodes_are_told_under_the_new_epoch() -> None:
    with fleet_in_memory("n1") as fleet:
        fleet.admin.generate("other", no_license=True)
        release(fleet.admin, 1)
        release(fleet.admin, 7, model="other")
        fleet.deliver()
        backup = fleet.folder / "backup.db"
        fleet.admin.backup(backup)
        release(fleet.admin, 2, only=True, withdraw=(identity(1),))
        fleet.admin.restore(backup)

        other, made = fleet.admin.releases()[1], fleet.admin.releases()[0]
        assert (made.model_id, made.entries, made.withdrawn) == ("llama", (entry(2),), (identity(1),))
        assert (made.epoch, other.epoch) == (2, 1)
        record = [each for each in fleet.admin.audit_records() if each.event == "release"][-1]
        assert record.detail["withdrawn"] == [identity(1).hex()]

        fleet.sync()
        fleet.receive("n1")
        accept_epoch(fleet.nodes["n1"], "head-office", expect=fleet_status(fleet.admin).base.root.hex())
        fleet.receive("n1")
        there, _ = known(fleet, "n1")
        assert there.epoch == 2
        assert there.standing(identity(1), entry(1).root, fleet.clock.forward()) is Standing.WITHDRAWN


def test_a_node_keeps_what_its_issuer_said() -> None:
    with fleet_in_memory("n1") as fleet:
        node = fleet.nodes["n1"]
        release(fleet.admin, 1)
        fleet.deliver()
        backup = fleet.folder / "node.db"
        node.backup(backup)
        release(fleet.admin, 2, only=True)
        fleet.deliver()
        node.restore(backup)
        there, _ = known(fleet, "n1")
        assert there.entries == (entry(2),)


def test_a_restore_of_the_same_state_issues_nothing() -> None:
    with fleet_in_memory() as fleet:
        release(fleet.admin, 1)
        backup = fleet.folder / "backup.db"
        fleet.admin.backup(backup)
        before = fleet.admin.releases()
        fleet.admin.restore(backup)
        assert fleet.admin.releases() == before
