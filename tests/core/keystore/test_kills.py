"""A kill between any two steps of an operation: the next command finds the old state or the new one, and goes on."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import pytest

from tests.core.keystore import kills
from tests.keystores import FULL_RUN, LICENSE, Desk, error_of, events, models
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.errors import NotFoundError

pytestmark = [
    pytest.mark.untraced,
    pytest.mark.skipif(kills.skip_reason() is not None, reason=str(kills.skip_reason())),
]


def chosen(points: list[kills.KillPoint], sample: int) -> list[kills.KillPoint]:
    return points if FULL_RUN else kills.thinned(points, sample)


def leftovers(desk: Desk) -> set[str]:
    """Files that should be gone from the keystore's and the host secret's folder after the next writing operation."""
    for path in desk.secret.parent.glob(f".{desk.secret.name}.*"):
        os.utime(path, (0, 0))  # several keystores may be making their host secret there: only old ones are swept
    with desk.manager() as manager:
        manager.accept_clock()
        keystore_id = manager.document().keystore_id.hex()
    wanted = {"keystore.db", "keystore.lock", "keystore.reserve"}
    wanted |= {desk.secret.name, f"{keystore_id}.mark", f"{keystore_id}.reserve"}
    return {path.name for folder in (desk.folder, desk.secret.parent) for path in folder.iterdir()} - wanted


def test_the_harness_kills_where_it_says(tmp_path: Path) -> None:
    def operation() -> None:
        for name in ("a", "b", "c"):
            (tmp_path / name).touch()

    points = [point for point in kills.kill_points(operation, [tmp_path], tmp_path / "log") if point.call == "openat"]
    for name in ("a", "b", "c"):
        (tmp_path / name).unlink()
    assert kills.killed_at(operation, points[1]) == kills.Outcome(killed=True, acknowledged=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "log"]


def test_creation(tmp_path: Path) -> None:
    def operation(desk: Desk, name: str = "llama") -> None:
        with desk.manager() as manager:
            manager.generate(name, license_key=LICENSE)

    operation(Desk(tmp_path))  # here, so that no child has to import anything
    first = Desk(tmp_path / "first")
    first.secret.parent.parent.mkdir()
    points = kills.kill_points(lambda: operation(first), [first.folder, first.secret.parent], tmp_path / "log")
    assert len(points) > 60
    states, left = set(), {}
    for number, point in enumerate(chosen(points, 20)):
        desk = Desk(tmp_path / str(number))
        desk.secret.parent.parent.mkdir()
        outcome = kills.killed_at(lambda desk=desk: operation(desk), point)  # type: ignore[misc]
        assert outcome.killed, point
        if number % 2:
            must_go_on(desk)  # the very next command makes a key: nothing else may have tidied up before
        states.add(found_after_creation(desk, point, outcome.acknowledged))
        left[point] = leftovers(desk)
        shutil.rmtree(tmp_path / str(number))
    assert states == {"nothing", "whole"}
    assert {point: names for point, names in left.items() if names} == {}


def found_after_creation(desk: Desk, point: kills.KillPoint, acknowledged: bool) -> str:
    manager = desk.manager()
    error = error_of(manager.audit_size)
    assert error is None or isinstance(error, NotFoundError), (point, error)
    made = error is None and "llama" in models(manager)
    assert made or not acknowledged, point
    if made:
        assert events(manager)[:3] == [("keystore-create", "ok"), ("license-enroll", "ok"), ("generate", "ok")], point
    must_go_on(desk)
    assert all(check.ok for check in manager.validate(deep=True).checks), point
    desk.close()
    return "whole" if made else "nothing"


def must_go_on(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate(f"next-{secrets.token_hex(4)}", license_key=LICENSE)
        assert manager.audit_verify() >= 3


def test_rotation(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    desk.secret.parent.parent.mkdir()
    with desk.manager() as manager:
        manager.generate("llama", license_key=LICENSE)
        manager.generate("warm", license_key=LICENSE)
        manager.rotate(["warm"], license_key=LICENSE)  # here, so that no child has to import anything
    saved = tmp_path / "saved"
    shutil.copytree(tmp_path / "desk", saved)

    def operation() -> None:
        desk.manager().rotate(["llama"], license_key=LICENSE, notify=["client1"], operation_id="nightly")

    points = kills.kill_points(operation, [desk.folder, desk.secret.parent], tmp_path / "log")
    assert len(points) > 30
    states, left = set(), {}
    for point in chosen(points, 20):
        shutil.rmtree(tmp_path / "desk")
        shutil.copytree(saved, tmp_path / "desk")
        outcome = kills.killed_at(operation, point)
        # Which pages a rotation touches is random: now and then there are fewer writes than the first time.
        assert outcome.killed or outcome.acknowledged, point
        states.add(found_after_rotation(desk, point, outcome.acknowledged))
        left[point] = leftovers(desk)
    assert states == {"old", "new"}
    assert {point: names for point, names in left.items() if names} == {}


def found_after_rotation(desk: Desk, point: kills.KillPoint, acknowledged: bool) -> str:
    manager = desk.manager()
    generation = manager.find("llama").generation
    rotations = [event for event, _ in events(manager)].count("rotate") - 1
    assert (generation, rotations) in ((1, 0), (2, 1)), point
    assert generation == 2 or not acknowledged, point
    assert manager.audit_verify() == manager.audit_size()
    # The same operation once more ends in the same place, whether or not it was done before the kill.
    repeated = manager.rotate(["llama"], license_key=LICENSE, notify=["client1"], operation_id="nightly")
    assert repeated.changed is (generation == 1), point
    assert [rotation.new and rotation.new.generation for rotation in repeated.rotations] == [2], point
    assert manager.find("llama").generation == 2
    assert all(check.ok for check in manager.validate(deep=True).checks)
    desk.close()
    return "old" if generation == 1 else "new"


def test_rekey(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    desk.secret.parent.parent.mkdir()
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        manager.rekey()  # here, so that no child has to import anything; the next one has an own secret to replace
        own = manager.document().keystore_id.hex()
    saved = tmp_path / "saved"
    shutil.copytree(tmp_path / "desk", saved)

    def operation() -> None:
        desk.manager().rekey(operation_id="nightly")

    points = kills.kill_points(operation, [desk.folder, desk.secret.parent], tmp_path / "log")
    assert len(points) > 40
    states, left = set(), {}
    for point in chosen(points, 24):
        shutil.rmtree(tmp_path / "desk")
        shutil.copytree(saved, tmp_path / "desk")
        outcome = kills.killed_at(operation, point)
        assert outcome.killed or outcome.acknowledged, point
        states.add(found_after_rekey(desk, point, outcome.acknowledged))
        unnamed = leftovers(desk) - {f"{own}.secret", f"{own}-2.secret"}
        left[point] = {name for name in unnamed if not name.endswith(".renewed")}  # for copies from before
        with desk.manager() as manager:
            new = manager.document().epoch == 3
        assert (desk.secret.parent / f"{own}-2.secret").exists() is new, point
    assert states == {"old", "new"}
    assert {point: names for point, names in left.items() if names} == {}


def found_after_rekey(desk: Desk, point: kills.KillPoint, acknowledged: bool) -> str:
    manager = desk.manager()
    epoch = manager.document().epoch
    assert (epoch, [event for event, _ in events(manager)].count("rekey")) in ((2, 1), (3, 2)), point
    assert epoch == 3 or not acknowledged, point
    with manager.open_key("llama", None, use=Use.ENCRYPT):
        pass
    repeated = manager.rekey(operation_id="nightly")
    assert repeated.changed is (epoch == 2), point
    assert all(check.ok for check in manager.validate(deep=True).checks), point
    desk.close()
    return "old" if epoch == 2 else "new"


def test_heartbeat(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    desk.secret.parent.parent.mkdir()
    with desk.manager() as manager:
        manager.generate("llama", license_key=LICENSE)
        manager.cleanup()  # here, so that no child has to import anything
    begun = desk.clock.now
    desk.clock.forward(days=1)
    saved = tmp_path / "saved"
    shutil.copytree(tmp_path / "desk", saved)

    def act() -> None:
        desk.manager().cleanup()

    points = kills.kill_points(act, [desk.folder, desk.secret.parent], tmp_path / "log")
    assert len(points) > 5
    states, left = set(), {}
    for point in points:
        shutil.rmtree(tmp_path / "desk")
        shutil.copytree(saved, tmp_path / "desk")
        outcome = kills.killed_at(act, point)
        assert outcome.killed or outcome.acknowledged, point
        with desk.manager() as manager:
            heartbeat = manager.clock_reading().heartbeat  # a torn mark would not open the keystore
        assert heartbeat in (begun, desk.clock.now), point
        assert heartbeat == desk.clock.now or not outcome.acknowledged, point
        states.add(heartbeat)
        left[point] = leftovers(desk)
    assert states == {begun, desk.clock.now}
    assert {point: names for point, names in left.items() if names} == {}


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.manager() as manager:
        manager.generate("llama", license_key=LICENSE)

    def operation() -> None:
        desk.manager().rotate(["llama"], license_key=LICENSE)

    locked = next(
        point for point in kills.kill_points(operation, [desk.folder], tmp_path / "log") if point.call == "pwrite64"
    )
    kills.killed_at(operation, locked)
    with desk.manager(lock_timeout=1.0) as manager:
        manager.generate("next", license_key=LICENSE)
