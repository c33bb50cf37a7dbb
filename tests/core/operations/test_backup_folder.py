"""Backups in a folder: each under its own name, the old ones removed, but none that holds what the newest lacks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of, events
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    return made


@pytest.fixture
def folder(desk: Desk) -> Path:
    made = desk.folder.parent / "backups"
    made.mkdir()
    return made


def names(folder: Path) -> set[str]:
    """The stamps of the backups in a folder."""
    return {path.stem.split("-")[2] for path in folder.glob("keystore-*.db")}


def test_a_daily_job_keeps_some_days_and_then_weeks(desk: Desk, manager: KeyManager, folder: Path) -> None:
    (folder / "another-file.db").write_text("not ours")
    removed: list[Path] = []
    for _ in range(17):
        removed += manager.backup_to(folder, keep=2).removed
        desk.clock.forward(days=1)

    kept = {"20261211T120000Z", "20261210T120000Z", "20261209T120000Z", "20261206T120000Z", "20261129T120000Z"}
    assert names(folder) == kept
    assert len(removed) == 12
    assert [event for event, _ in events(manager)].count("backup-removed") == 12
    assert (folder / "another-file.db").exists()


def test_every_copy_of_a_day_has_a_name_of_its_own(manager: KeyManager, folder: Path) -> None:
    first, second = (manager.backup_to(folder) for _ in range(2))

    assert second.path.name == first.path.stem + "-2.db"
    assert first.path.exists()  # the stamps are equal


def test_one_that_holds_what_a_restore_left_behind_stays(desk: Desk, manager: KeyManager, folder: Path) -> None:
    early = manager.backup(desk.folder.parent / "early.db").path
    manager.rotate(["llama"], license_key=LICENSE)
    lost = manager.backup_to(folder).path  # the only one that holds the second generation
    manager.restore(early)
    desk.clock.forward(days=400)
    done = manager.backup_to(folder, keep=1)

    assert lost.exists()
    assert done.removed == ()
    assert [(each.code, str(lost) in each.message) for each in done.warnings] == [("backup-not-removed", True)]


def test_one_that_does_not_open_stays(desk: Desk, manager: KeyManager, folder: Path) -> None:
    damaged = manager.backup_to(folder).path
    damaged.write_bytes(damaged.read_bytes()[:5_000])
    desk.clock.forward(days=400)

    assert [each.code for each in manager.backup_to(folder).warnings] == ["backup-not-removed"]
    assert damaged.exists()


def test_none_is_removed_for_a_new_copy_that_is_damaged(desk: Desk, manager: KeyManager, folder: Path) -> None:
    manager.backup_to(folder)
    manager.close()
    desk.clock.forward(days=400)
    with desk.manager() as other:
        newest = other.backup_to(desk.folder.parent, operation_id="nightly").path
    old = [path.rename(folder.parent / path.name) for path in folder.iterdir()]
    with closing(sqlite3.connect(newest, isolation_level=None)) as database:
        database.execute("UPDATE record SET sealed = zeroblob(length(sealed)) WHERE kind = ?", (RecordKind.KEY,))

    with desk.manager() as other:
        error = error_of(lambda: other.backup_to(newest.parent, operation_id="nightly"))
    assert isinstance(error, IntegrityError)
    assert [path.exists() for path in old] == [True]


def test_garbage_does_not_take_the_place_of_the_copy_of_its_day(desk: Desk, manager: KeyManager, folder: Path) -> None:
    good = manager.backup_to(folder).path
    garbage = good.with_name(good.name.replace("T120000Z", "T235959Z"))
    garbage.write_text("not a keystore")
    desk.clock.forward(days=1)
    done = manager.backup_to(folder)

    assert (good.exists(), garbage.exists(), done.removed) == (True, True, ())
    assert [(each.code, str(garbage) in each.message) for each in done.warnings] == [("backup-not-removed", True)]


def test_what_has_such_a_name_and_is_no_file_stays(desk: Desk, manager: KeyManager, folder: Path) -> None:
    first = manager.backup_to(folder).path
    moved = folder / "moved"
    first.rename(moved)
    first.symlink_to(moved)
    desk.clock.forward(days=400)

    assert manager.backup_to(folder).removed == ()
    assert first.is_symlink()


def test_a_copy_that_was_not_recorded_is_taken_over_by_its_operation(
    desk: Desk, manager: KeyManager, folder: Path
) -> None:
    manager.close()

    def clock() -> float:
        if names(folder):
            raise KeyboardInterrupt
        return desk.clock()

    with pytest.raises(KeyboardInterrupt):
        desk.manager(clock=clock).backup_to(folder, operation_id="nightly")
    desk.clock.forward(seconds=60)
    done = desk.manager().backup_to(folder, operation_id="nightly")
    again = desk.manager().backup_to(folder, operation_id="nightly")

    assert names(folder) == {"20261125T120000Z"}
    assert (done.changed, again.changed, again.path) == (True, False, done.path)


def test_a_folder_that_is_not_there_is_not_made(manager: KeyManager, desk: Desk) -> None:
    unmounted = desk.folder.parent / "unmounted"

    assert isinstance(error_of(lambda: manager.backup_to(unmounted)), NotFoundError)
    assert not unmounted.exists()


def test_the_keystores_own_folder_is_refused(manager: KeyManager, desk: Desk) -> None:
    assert isinstance(error_of(lambda: manager.backup_to(desk.folder)), RefusedError)
