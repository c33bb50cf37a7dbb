"""Nodes keep the issuer's highest audit head: an issuer put back from an old copy is refused."""

from __future__ import annotations

import shutil

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute


@pytest.fixture
def shared(fleet: Fleet) -> Fleet:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    return fleet


def put_back(fleet: Fleet) -> None:
    """Both folders of the issuer as they were at `keep`."""
    fleet.admin.close()
    for folder in ("keys", "host"):
        place = fleet.folder / "admin" / folder
        shutil.rmtree(place)
        shutil.copytree(fleet.folder / f"copy-{folder}", place)


def keep(fleet: Fleet) -> None:
    fleet.admin.close()
    for folder in ("keys", "host"):
        shutil.copytree(fleet.folder / "admin" / folder, fleet.folder / f"copy-{folder}")


def test_an_issuer_put_back_from_an_old_copy_is_refused_by_every_node(shared: Fleet) -> None:
    keep(shared)
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    put_back(shared)
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.sync()

    for name, manager in shared.nodes.items():
        held = manager.find("llama")
        came = shared.receive(name)
        assert [each.error.code for each in came.blocked] == ["integrity"]
        assert manager.find("llama") == held
    status = fleet_status(shared.admin)
    assert {each.name for each in status.conflicts} == {"n1", "n2", "n3"}
    assert isinstance(status.error(), IntegrityError)


def test_status_names_it_even_before_anything_is_sent(shared: Fleet) -> None:
    keep(shared)
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    put_back(shared)
    shared.sync()

    error = fleet_status(shared.admin).error()
    assert isinstance(error, IntegrityError)
    assert "conflicting audit history" in error.message


def test_an_honest_restore_goes_on_by_its_new_epoch(shared: Fleet) -> None:
    backup = shared.folder / "backup.db"
    shared.admin.backup(backup)
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    shared.admin.restore(backup)
    distribute(shared.admin, ["llama"], every_node=True)
    shared.sync()
    came = shared.receive("n1")
    assert [each.error.code for each in came.blocked] == ["refused"]
    assert came.blocked[0].error.remedy == "accept-epoch"
    assert shared.receive("n1").consumed == 0

    node, base = shared.nodes["n1"], fleet_status(shared.admin).base.root.hex()
    with pytest.raises(RefusedError, match="did not begin with the expected head"):
        accept_epoch(node, "head-office", expect="00" * 32)
    accepted = accept_epoch(node, "head-office", expect=base)
    assert (accepted.epoch, accepted.head) == (2, base)
    shared.receive("n1")
    shared.sync()
    status = fleet_status(shared.admin)
    assert [each.name for each in status.nodes if each.acked == each.issued] == ["n1"]
    assert not status.conflicts


def test_no_epoch_was_offered(shared: Fleet) -> None:
    with pytest.raises(NotFoundError, match="no new epoch"):
        accept_epoch(shared.nodes["n1"], "head-office", expect="00" * 32)


def test_what_was_on_its_way_goes_out_again_in_the_new_epoch(shared: Fleet) -> None:
    shared.admin.generate("qwen", license_key=LICENSE)
    distribute(shared.admin, ["qwen"], every_node=True)
    backup = shared.folder / "backup.db"
    shared.admin.backup(backup)
    shared.admin.restore(backup)
    shared.join("n4")
    shared.sync()
    shared.receive("n1")
    accept_epoch(shared.nodes["n1"], "head-office", expect=fleet_status(shared.admin).base.root.hex())
    shared.receive("n1")

    assert shared.nodes["n1"].find("qwen").key_id == shared.admin.find("qwen").key_id
    assert shared.receive("n4").blocked == ()


def test_a_new_epoch_is_seen_behind_a_gap_of_the_old_one(shared: Fleet) -> None:
    backup = shared.folder / "backup.db"
    shared.admin.backup(backup)
    distribute(shared.admin, ["llama"], every_node=True)
    shared.sync()
    lost, *_ = (line for line in shared.lines("n1") if b'"number":3' in line)
    distribute(shared.admin, ["llama"], every_node=True)
    shared.sync()
    rest = [line for line in shared.lines("n1") if line != lost]
    shared.lose_lines()
    shared.post("n1", *rest)
    assert shared.receive("n1").waits_for == (("head-office", 3),)

    shared.admin.restore(backup)
    distribute(shared.admin, ["llama"], every_node=True)
    shared.sync()
    assert shared.receive("n1").blocked[0].error.remedy == "accept-epoch"


def test_of_several_new_epochs_the_last_is_offered(shared: Fleet) -> None:
    backup = shared.folder / "backup.db"
    shared.admin.backup(backup)
    for _ in range(2):
        shared.admin.restore(backup)
        distribute(shared.admin, ["llama"], every_node=True)
        shared.sync()
        shared.admin.backup(backup, force=True)
    shared.receive("n1")
    accepted = accept_epoch(shared.nodes["n1"], "head-office", expect=fleet_status(shared.admin).base.root.hex())
    assert accepted.epoch == 3
    assert not shared.receive("n1").blocked


def test_a_generation_that_was_forgotten_and_made_anew_takes_the_place_of_the_first(shared: Fleet) -> None:
    backup = shared.folder / "backup.db"
    shared.admin.backup(backup)
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    forgotten = shared.key
    shared.admin.restore(backup)
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.sync()
    node = shared.nodes["n1"]
    shared.receive("n1")
    accept_epoch(node, "head-office", expect=fleet_status(shared.admin).base.root.hex())
    assert shared.receive("n1").refusals == ()

    assert node.find("llama").key_id == shared.key.key_id
    assert node.find(forgotten.key_id).successor == shared.key.key_id
