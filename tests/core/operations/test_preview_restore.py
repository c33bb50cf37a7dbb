"""What a restore would do, told before it is done: the backup verified whole, nothing written anywhere."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.operations.preview_restore import preview_restore
from tiktrue_keys.errors import IntegrityError, NotFoundError, WrongMachineError


def backed_up(desk: Desk) -> Path:
    """A keystore with one key, its backup, and then one operation more."""
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    copy = manager.backup(desk.folder.parent / "copy.db").path
    desk.clock.forward(days=1)
    manager.generate("later", no_license=True)
    manager.close()
    return copy


def test_both_sides_with_their_newest_records(desk: Desk) -> None:
    copy = backed_up(desk)

    found = preview_restore(desk.session(), copy)

    assert found.present is not None
    assert found.present.newest is not None
    assert found.backup.newest is not None
    assert found.present.newest.event == "generate"
    assert found.present.newest.time > found.backup.newest.time
    assert found.present.audit_size > found.backup.audit_size
    assert (found.backup.epoch, found.same_keystore, found.present_error) == (1, True, None)


def test_nothing_is_written(desk: Desk) -> None:
    copy = backed_up(desk)
    before = contents(desk.folder.parent)

    preview_restore(desk.session(), copy)

    assert contents(desk.folder.parent) == before


def test_where_there_is_no_keystore(desk: Desk) -> None:
    copy = backed_up(desk)
    desk.file.unlink()

    found = preview_restore(desk.session(), copy)

    assert (found.present, found.present_error, found.same_keystore) == (None, None, None)


@pytest.mark.parametrize("damage", [b"garbage" * 1000, b"SQLite format 3\0" + bytes(4080)])
def test_a_keystore_that_does_not_open_is_told_as_such(desk: Desk, damage: bytes) -> None:
    copy = backed_up(desk)
    desk.file.write_bytes(damage)

    found = preview_restore(desk.session(), copy)

    assert found.present is None
    assert isinstance(found.present_error, IntegrityError)


def test_another_keystores_backup(desk: Desk, tmp_path: Path) -> None:
    copy = backed_up(desk)
    with Desk(tmp_path) as other:
        other.secret = desk.secret
        other.manager().generate("mistral", no_license=True)

        assert preview_restore(other.session(), copy).same_keystore is False


def test_a_backup_that_was_changed(desk: Desk) -> None:
    copy = backed_up(desk)
    connection = sqlite3.connect(copy)
    connection.execute("UPDATE audit SET sealed = substr(sealed, 2) WHERE number = 0")
    connection.commit()
    connection.close()

    for read in (
        lambda: preview_restore(desk.session(), copy),
        lambda: desk.manager().restore(copy),
    ):
        error = error_of(read)
        assert isinstance(error, IntegrityError)
        assert error.message == f"the backup {copy} does not open: audit record 0 was changed"
        assert error.hint == "choose another backup"


def test_a_backup_that_is_not_there(desk: Desk) -> None:
    assert isinstance(error_of(lambda: preview_restore(desk.session(), desk.folder / "nothing.db")), NotFoundError)


def test_a_backup_of_another_machine(desk: Desk) -> None:
    copy = backed_up(desk)
    desk.secret.write_bytes(bytes(32))

    for read in (
        lambda: preview_restore(desk.session(), copy),
        lambda: desk.manager().restore(copy),
    ):
        error = error_of(read)
        assert isinstance(error, WrongMachineError)
        assert error.message.startswith(f"the backup {copy} does not open: the host secret")


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `folder`, with its bytes and the time of its last change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {os.fspath(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
