"""An older copy put back, and the high-water mark that tells: beside the host secret, moved by every operation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.keystore.high_water import Mark, mark_path, read_mark, write_mark
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, NotFoundError, TikTrueKeysError

ROOT = SecretBuffer.copy_of(bytes(range(32)))
ID = bytes(range(16))


def refused(desk: Desk) -> TikTrueKeysError:
    """The error that reading and writing both end in."""
    with desk.manager() as manager:
        reading = error_of(lambda: manager.find("llama"))
        writing = error_of(lambda: manager.rotate(["llama"], license_key=LICENSE))
    assert type(reading) is type(writing)
    assert reading is not None
    return reading


@pytest.fixture
def rotated(desk: Desk, tmp_path: Path) -> Desk:
    """A keystore after one rotation; `yesterday.db` and `yesterday.mark` are copies from before it."""
    with desk.manager() as manager:
        manager.generate("llama", license_key=LICENSE)
        manager.close()
        shutil.copy(desk.file, tmp_path / "yesterday.db")
        shutil.copy(desk.mark, tmp_path / "yesterday.mark")
        manager.rotate(["llama"], license_key=LICENSE)
    return desk


def test_yesterdays_copy_is_refused_and_the_hint_says_what_to_do(rotated: Desk, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "yesterday.db", rotated.file)
    error = refused(rotated)
    assert isinstance(error, IntegrityError)
    assert "3 audit records of 4" in error.message
    assert "restore" in error.hint


def test_a_refused_copy_does_not_move_the_mark(rotated: Desk, tmp_path: Path) -> None:
    newest = tmp_path / "newest.db"
    shutil.copy(rotated.file, newest)
    shutil.copy(tmp_path / "yesterday.db", rotated.file)
    refused(rotated)
    shutil.copy(newest, rotated.file)
    with rotated.manager() as manager:
        assert manager.find("llama").generation == 2


def test_yesterdays_copy_while_the_manager_is_open_is_refused_too(rotated: Desk, tmp_path: Path) -> None:
    with rotated.manager() as manager:
        assert manager.find("llama").generation == 2
        rotated.file.write_bytes((tmp_path / "yesterday.db").read_bytes())
        assert isinstance(error_of(lambda: manager.find("llama")), IntegrityError)


def test_a_file_renamed_into_place_is_looked_at_although_the_manager_has_the_other_one_open(
    rotated: Desk, tmp_path: Path
) -> None:
    with rotated.manager() as manager:
        assert manager.find("llama").generation == 2
        (tmp_path / "yesterday.db").replace(rotated.file)
        assert isinstance(error_of(lambda: manager.find("llama")), IntegrityError)
        assert isinstance(error_of(lambda: manager.rotate(["llama"], license_key=LICENSE)), IntegrityError)


def test_a_copy_that_went_another_way_is_refused(rotated: Desk, tmp_path: Path) -> None:
    # The same number of records as the mark, but another last one: a keystore that was run on with yesterday's mark.
    newest_mark = rotated.mark.read_bytes()
    shutil.copy(tmp_path / "yesterday.db", rotated.file)
    shutil.copy(tmp_path / "yesterday.mark", rotated.mark)
    with rotated.manager() as manager:
        manager.revoke(["llama"], reason="another history")
    rotated.mark.write_bytes(newest_mark)
    error = refused(rotated)
    assert "is not the one this machine remembers" in error.message


def test_a_mark_behind_the_keystore_is_no_fault(rotated: Desk, tmp_path: Path) -> None:
    # What a kill between the commit and the mark leaves.
    shutil.copy(tmp_path / "yesterday.mark", rotated.mark)
    with rotated.manager() as manager:
        assert manager.find("llama").generation == 2
        manager.rotate(["llama"], license_key=LICENSE)
    assert json.loads(rotated.mark.read_bytes())["size"] == 5


def removed(mark: Path) -> None:
    mark.unlink()


def emptied(mark: Path) -> None:
    mark.write_bytes(b"")


def edited(mark: Path) -> None:
    value = json.loads(mark.read_bytes())
    mark.write_bytes(canonical_json({**value, "size": 1}))


def without_mac(mark: Path) -> None:
    value = json.loads(mark.read_bytes())
    del value["mac"]
    mark.write_bytes(canonical_json(value))


def mac_of_another_type(mark: Path) -> None:
    value = json.loads(mark.read_bytes())
    mark.write_bytes(canonical_json({**value, "mac": 7}))


def too_long(mark: Path) -> None:
    mark.write_bytes(mark.read_bytes() + bytes(2000))


def no_object(mark: Path) -> None:
    mark.write_bytes(b"[]")


@pytest.mark.parametrize("change", [removed, emptied, edited, without_mac, mac_of_another_type, too_long, no_object])
def test_a_mark_that_is_not_ours_is_refused(rotated: Desk, change: Callable[[Path], None]) -> None:
    change(rotated.mark)
    error = refused(rotated)
    assert isinstance(error, IntegrityError)
    assert "high-water mark" in error.message


def test_every_byte_of_the_mark_counts(rotated: Desk) -> None:
    data = rotated.mark.read_bytes()
    with rotated.manager() as manager:
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 1
            rotated.mark.write_bytes(changed)
            manager.close()
            assert isinstance(error_of(manager.audit_size), IntegrityError), at


def test_another_keystores_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Desk(tmp_path) as desk, Desk(tmp_path / "other") as other:
        for one in (desk, other):
            one.manager().generate("llama", license_key=LICENSE)
            one.close()
        shutil.copy(other.mark, desk.mark)
        assert isinstance(refused(desk), IntegrityError)


def test_two_keystores_share_a_host_secret_and_have_a_mark_each(tmp_path: Path) -> None:
    with Desk(tmp_path) as one, Desk(tmp_path) as other:
        other.folder = tmp_path / "other"
        for desk in (one, other):
            desk.manager().generate("llama", license_key=LICENSE)
            desk.close()
        assert len(list(one.secret.parent.glob("*.mark"))) == 2
        for desk in (one, other):
            assert desk.manager().find("llama").generation == 1


def test_a_mark_is_private_and_says_what_was_written(tmp_path: Path) -> None:
    path = mark_path(tmp_path, ID)
    write_mark(path, Mark(2, 7, b"h" * 32), root=ROOT.view, keystore_id=ID)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_mark(path, root=ROOT.view, keystore_id=ID) == Mark(2, 7, b"h" * 32)
    with pytest.raises(IntegrityError):
        read_mark(path, root=ROOT.view, keystore_id=bytes(16))
    with SecretBuffer(32) as stranger, pytest.raises(IntegrityError):
        read_mark(path, root=stranger.view, keystore_id=ID)


def test_marks_are_ordered_by_epoch_then_size() -> None:
    marks = [Mark(1, 9, b"b"), Mark(2, 0, b"a"), Mark(1, 10, b"a")]
    assert [(mark.epoch, mark.size) for mark in sorted(marks)] == [(1, 9), (1, 10), (2, 0)]


def test_a_failed_operation_moves_the_mark_with_its_record(rotated: Desk) -> None:
    with rotated.manager() as manager:
        assert error_of(lambda: manager.rotate(["llama"], license_key="a stranger's")) is not None
        size = manager.audit_size()
    assert json.loads(rotated.mark.read_bytes())["size"] == size == 5


def test_where_the_marks_folder_is_gone_the_operation_tells_the_truth(rotated: Desk) -> None:
    with rotated.manager() as manager:
        old = manager.find("llama")
        assert old.generation == 2
        shutil.rmtree(rotated.secret.parent)
        error = error_of(lambda: manager.rotate(["llama"], license_key=LICENSE))
        assert error is not None
        assert not isinstance(error, NotFoundError)
        assert f"the change was made (rotate {old.key_id}), but the high-water mark was not written" in error.message
        assert error.remedy == "mark-not-written"
        assert error.exit_code == 12
        assert manager.find(old.key_id).successor is not None
