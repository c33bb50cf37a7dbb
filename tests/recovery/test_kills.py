"""A kill anywhere in `escrow create --replace` and `escrow recover`: at every instant some shares open the keystore."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.core.keystore import kills
from tests.core.keystore.test_kills import chosen, leftovers
from tests.faults import facts
from tests.keystores import LICENSE, Desk, error_of, events, models
from tests.recovery.test_recover import ELSEWHERE
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.outputs import KEYSTORES_ONLY
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.recovery.escrow import create_escrow, verify_escrow
from tiktrue_keys.recovery.recover import recover
from tiktrue_keys.recovery.share_files import read_share_file, write_shares
from tiktrue_keys.recovery.shares import Share

pytestmark = [
    pytest.mark.untraced,
    pytest.mark.skipif(kills.skip_reason() is not None, reason=str(kills.skip_reason())),
]


def make_escrow(manager: KeyManager, folder: Path, *, replacing: bool = False, operation_id: str | None = None) -> None:
    def hand_over(keystore_id: bytes, shares: Sequence[Share]) -> Callable[[], None]:
        return write_shares(folder, shares, keystore_id, gate=KEYSTORES_ONLY)[1]

    create_escrow(manager, hand_over, shares=2, threshold=2, replacing=replacing, operation_id=operation_id)


def shares_in(folder: Path) -> dict[int, list[Share]]:
    """The whole sets of shares in a folder."""
    found: dict[int, list[Share]] = {}
    for path in folder.glob("escrow-*.txt"):
        for share in read_share_file(path):
            found.setdefault(share.escrow, []).append(share)
    return {escrow: shares for escrow, shares in found.items() if len(shares) == 2}


def opens(desk: Desk, shares: list[Share]) -> bool:
    """Whether these shares open the keystore; any other error than that they do not fails the test."""
    with desk.manager() as manager:
        found = error_of(lambda: verify_escrow(manager, shares))
    assert found is None or isinstance(found, RefusedError)
    return found is None


@pytest.fixture
def saved(desk: Desk) -> Path:
    """A keystore with an escrow, kept aside; its shares lie in `shares`."""
    facts.become(facts.FIVE)
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    make_escrow(manager, desk.folder.parent / "shares")
    manager.backup(desk.folder.parent / "shares/backup.db")
    desk.close()
    folder = desk.folder.parent / "saved"
    shutil.copytree(desk.folder, folder / "keys")
    shutil.copytree(desk.secret.parent, folder / "host")
    shutil.copytree(desk.folder.parent / "shares", folder / "shares")
    return folder


def put_back(desk: Desk, saved: Path) -> None:
    desk.close()
    for name in ("keys", "host", "shares"):
        shutil.rmtree(desk.folder.parent / name, ignore_errors=True)
        shutil.copytree(saved / name, desk.folder.parent / name)


def test_a_replaced_escrow(desk: Desk, saved: Path, tmp_path: Path) -> None:
    folder = desk.folder.parent / "shares"
    (old,) = shares_in(folder)

    def operation() -> None:
        with desk.manager() as manager:
            make_escrow(manager, folder, replacing=True, operation_id="once")

    operation()
    put_back(desk, saved)
    points = kills.kill_points(operation, [desk.folder, folder], tmp_path / "log")
    assert len(points) > 60
    states = set()
    for point in chosen(points, 30):
        put_back(desk, saved)
        outcome = kills.killed_at(operation, point)
        sets = shares_in(folder)
        opening = {number for number, shares in sets.items() if opens(desk, shares)}
        assert len(opening) == 1, f"{point}: of {len(sets)} sets of shares {len(opening)} open the keystore"
        assert not outcome.acknowledged or opening != {old}, point
        states.add("old" if opening == {old} else "new")
        operation()
        with desk.manager() as manager:
            assert events(manager).count(("escrow-create", "ok")) == 2
        assert not leftovers(desk), point
    assert states == {"old", "new"}


@pytest.mark.parametrize("place", ["an empty one", "where it lies"])
def test_a_recovery(desk: Desk, saved: Path, tmp_path: Path, place: str) -> None:
    (shares,) = shares_in(saved / "shares").values()
    backup = None if place == "where it lies" else saved / "shares/backup.db"
    facts.become(ELSEWHERE)

    def operation() -> None:
        with desk.manager() as manager:
            recover(manager, backup, shares, operation_id="once")

    def prepare() -> None:
        put_back(desk, saved)
        shutil.rmtree(desk.secret.parent)
        if backup is not None:
            shutil.rmtree(desk.folder)

    prepare()
    operation()
    prepare()
    points = kills.kill_points(operation, [desk.folder, desk.secret.parent], tmp_path / "log")
    assert len(points) > 100
    acknowledged = 0
    for point in chosen(points, 40):
        prepare()
        outcome = kills.killed_at(operation, point)
        if outcome.acknowledged:
            acknowledged += 1
            with desk.manager() as manager:
                assert models(manager) == ["llama"], point
        operation()
        with desk.manager() as manager:
            assert models(manager) == ["llama"], point
            assert events(manager).count(("escrow-recover", "ok")) == 1, point
            assert manager.validate(deep=True).checks
        left = {name for name in leftovers(desk) if not name.endswith(".replaced.db")}
        assert not left, f"{point}: {left}"
        kept = [name for name in os.listdir(desk.folder) if name.endswith(".replaced.db")]
        assert len(kept) == (backup is None), f"{point}: {kept}"
    assert acknowledged < 10
