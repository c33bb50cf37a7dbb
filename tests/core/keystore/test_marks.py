"""Where marks lie: in the recorded folder, beside the secret in use, in a given folder; the highest counts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.core.approvals.approvers import policy_of
from tests.core.keystore.test_open import in_a_namespace
from tests.keystores import LICENSE, OTHER_LICENSE, Desk, error_of, events
from tests.machines import skip_reason
from tiktrue_keys.core.keystore.high_water import mark_path
from tiktrue_keys.core.keystore.marks import Marks
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import (
    DiskFullError,
    InsecureError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UsageError,
    WrongLicenseError,
)


@pytest.fixture
def made(desk: Desk) -> Desk:
    """A licensed keystore, not in use."""
    with desk.manager() as manager:
        manager.generate("m", license_key=LICENSE)
    return desk


@pytest.fixture
def moved(made: Desk) -> Path:
    """The host secret in a folder of another disk, without a mark."""
    path = made.folder.parent / "disk/secret"
    path.parent.mkdir(mode=0o700)
    shutil.copy(made.secret, path)
    return path


def mark_in(desk: Desk, folder: Path) -> Path:
    """The path of the keystore's mark in a folder; its reserve tells the id, and is where the first mark was."""
    (reserve,) = desk.secret.parent.glob("*.reserve")
    return mark_path(folder, bytes.fromhex(reserve.stem))


def size(path: Path) -> int:
    found: int = json.loads(path.read_bytes())["size"]
    return found


def recorded(manager: KeyManager) -> tuple[str, str]:
    document = manager.document()
    return document.host_secret_path, document.marks_path


def test_the_lacking_one_is_written_by_the_next_change(made: Desk, moved: Path) -> None:
    with made.manager(host_secret_file=moved) as manager:
        assert manager.find("m").generation == 1
        assert not mark_in(made, moved.parent).exists()
        manager.rotate(["m"], license_key=LICENSE)
        assert size(mark_in(made, moved.parent)) == size(made.mark) == manager.audit_size()
        assert recorded(manager) == (str(made.secret), str(made.secret.parent))


def test_the_highest_counts_wherever_it_lies(made: Desk, moved: Path, tmp_path: Path) -> None:
    shutil.copy(made.file, tmp_path / "older.db")
    stale = made.mark.read_bytes()
    with made.manager(host_secret_file=moved) as manager:
        manager.rotate(["m"], license_key=LICENSE)
    for put_back in (made.mark, mark_in(made, moved.parent)):
        newest = put_back.read_bytes()
        put_back.write_bytes(stale)
        with made.manager(host_secret_file=moved) as manager:
            assert manager.find("m").generation == 2
        newer = made.file.read_bytes()
        shutil.copy(tmp_path / "older.db", made.file)
        with made.manager(host_secret_file=moved) as manager:
            error = error_of(lambda manager=manager: manager.find("m"))  # type: ignore[misc]
        assert isinstance(error, IntegrityError)
        assert error.remedy == "rolled-back"
        put_back.write_bytes(newest)
        made.file.write_bytes(newer)


def test_both_are_lost_and_the_license_brings_one_back(made: Desk, moved: Path) -> None:
    made.mark.unlink()
    with made.manager(host_secret_file=moved) as manager:
        for call in (lambda: manager.find("m"), lambda: manager.rebind(OTHER_LICENSE)):
            error = error_of(call)
            assert isinstance(error, IntegrityError | WrongLicenseError)
            assert not list(moved.parent.glob("*.mark"))  # the refusal was not recorded, which would write one
        assert "are gone" in str(error_of(lambda: manager.find("m")))
        assert isinstance(error_of(lambda: manager.rebind()), UsageError)
        planned = manager.rebind(dry_run=True)
        assert (planned.replaced_mark, planned.changed) == (True, False)
        done = manager.rebind(LICENSE)
        assert (done.replaced_mark, done.changed) == (True, True)
        assert manager.find("m").generation == 1
        assert size(mark_in(made, moved.parent)) == manager.audit_size()
        assert manager.rebind(LICENSE).changed is False


@pytest.mark.parametrize("license_key", [LICENSE, None])
def test_a_checkpoint_kept_elsewhere_brings_one_back_without_a_license(desk: Desk, license_key: str | None) -> None:
    with desk.manager() as manager:
        manager.generate("m", license_key=license_key, no_license=license_key is None)
        note = manager.audit_checkpoint().encode()
        oldest = desk.file.read_bytes()
        manager.revoke(["m"], reason="later")
        newer = manager.audit_checkpoint().encode()
    older = desk.file.read_bytes()
    desk.mark.unlink()
    with desk.manager() as manager:
        assert isinstance(error_of(lambda: manager.rebind(against=b"\xff")), IntegrityError)
        assert isinstance(error_of(lambda: manager.rebind(against=note.replace(b"=", b"a", 1))), IntegrityError)
        if license_key is None:
            assert isinstance(error_of(manager.rebind), IntegrityError)
        assert manager.rebind(against=note, dry_run=True).changed is False
        assert isinstance(error_of(manager.audit_size), IntegrityError)
        done = manager.rebind(against=note)
        assert [each.code for each in done.warnings] == ["new-epoch"]
        assert "does not prove" in done.warnings[0].message
        assert manager.document().epoch > 1
        assert manager.audit_verify() == manager.audit_size()
        assert (done.replaced_mark, done.changed, events(manager)[-1]) == (True, True, ("rebind", "ok"))
        assert isinstance(error_of(lambda: manager.rebind(against=newer)), IntegrityError)  # of the former epoch
        manager.generate("n", license_key=license_key, no_license=license_key is None)
        newest = manager.audit_checkpoint().encode()
    for file, checkpoint, remedy in ((oldest, newer, "rolled-back"), (older, newest, "")):
        desk.file.write_bytes(file)
        for mark in desk.secret.parent.glob("*.mark"):
            mark.unlink()
        with desk.manager() as manager:
            error = error_of(lambda manager=manager, note=checkpoint: manager.rebind(against=note))  # type: ignore[misc]
        assert isinstance(error, IntegrityError)
        assert error.remedy == remedy


def test_a_checkpoint_is_no_way_around_the_policy(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("m", license_key=LICENSE)
        policy_of(manager.session, binding=1)
        note = manager.audit_checkpoint().encode()
    desk.mark.unlink()
    with desk.manager() as manager:
        error = error_of(lambda: manager.rebind(against=note))
        assert isinstance(error, RefusedError)
        assert not list(desk.secret.parent.glob("*.mark"))


def test_a_lost_mark_is_no_way_around_another_that_is_there(made: Desk, moved: Path) -> None:
    older = made.file.read_bytes()
    with made.manager(host_secret_file=moved) as manager:
        manager.rotate(["m"], license_key=LICENSE)
    made.mark.unlink()
    made.file.write_bytes(older)
    with made.manager(host_secret_file=moved) as manager:
        error = error_of(lambda: manager.rebind(LICENSE))
    assert isinstance(error, IntegrityError)
    assert error.remedy == "rolled-back"


def test_keystore_and_host_secret_move_to_another_disk(made: Desk) -> None:
    new = Desk(made.folder.parent / "disk")
    shutil.copytree(made.folder, new.folder)
    shutil.copytree(made.secret.parent, new.secret.parent)
    shutil.rmtree(made.folder)
    shutil.rmtree(made.secret.parent)
    with new.manager() as manager:
        manager.rotate(["m"], license_key=LICENSE)
        done = manager.rebind(LICENSE)
        assert (done.moved.host_secret, done.moved.marks) == (new.secret, new.secret.parent)
        assert recorded(manager) == (str(new.secret), str(new.secret.parent))
    with new.manager(host_secret_file=None) as manager:
        assert manager.find("m").generation == 2
        assert manager.mark_paths() == (new.mark,)


def test_a_move_leaves_no_mark_behind_that_an_older_copy_would_reach(made: Desk, moved: Path, tmp_path: Path) -> None:
    shutil.copy(made.file, tmp_path / "older.db")
    left = made.mark
    with made.manager(host_secret_file=moved) as manager:
        manager.rebind(LICENSE)
        manager.rotate(["m"], license_key=LICENSE)
    assert not left.exists()
    shutil.copy(tmp_path / "older.db", made.file)
    for options in ({}, {"host_secret_file": moved}):
        with made.manager(**options) as manager:
            assert isinstance(error_of(lambda manager=manager: manager.find("m")), IntegrityError)  # type: ignore[misc]


def test_a_folder_that_is_given_has_the_first_mark_and_rebind_records_it(made: Desk) -> None:
    folder = made.folder.parent / "marks"
    with made.manager(marks_dir=folder) as manager:
        assert isinstance(error_of(manager.audit_size), NotFoundError)
    folder.mkdir(mode=0o700)
    with made.manager(marks_dir=folder) as manager:
        assert manager.rebind(dry_run=True).moved.marks == folder
        manager.rebind(LICENSE)
        assert recorded(manager) == (str(made.secret), str(folder))
        assert manager.mark_paths() == (mark_in(made, folder), made.mark)
    made.mark.unlink()
    with made.manager() as manager:
        assert manager.audit_size() == size(mark_in(made, folder))  # without being given
        assert manager.rebind(LICENSE).changed is False


def test_it_is_made_with_the_keystore(desk: Desk) -> None:
    folder = desk.folder.parent / "marks"
    with desk.manager(marks_dir=folder) as manager:
        manager.generate("m", license_key=LICENSE)
        assert recorded(manager) == (str(desk.secret), str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert mark_in(desk, folder).read_bytes() == desk.mark.read_bytes()


@pytest.mark.parametrize("below", [".", "marks"])
def test_the_keystores_own_folder_is_refused(made: Desk, below: str) -> None:
    (made.folder / "marks").mkdir(mode=0o700)
    with made.manager(marks_dir=made.folder / below) as manager:
        assert isinstance(error_of(manager.audit_size), InsecureError)
    with Desk(made.folder.parent / "new") as new:
        manager = new.manager(marks_dir=new.folder / below)
        assert isinstance(error_of(lambda: manager.generate("m", license_key=LICENSE)), InsecureError)
        assert not new.file.exists()


def junk(path: Path) -> None:
    path.write_bytes(b"{}")


def linked(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def piped(path: Path) -> None:
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [junk, linked, piped, folder])
def test_what_is_no_mark_hides_none(made: Desk, moved: Path, put: object) -> None:
    assert callable(put)
    path = mark_in(made, moved.parent)
    put(path)
    with made.manager(host_secret_file=moved) as manager:
        assert manager.find("m").generation == 1
        manager.revoke(["m"], reason="a change")
        assert size(made.mark) == manager.audit_size()
    made.mark.unlink()
    if put is junk:  # the change has put a mark in its place
        assert size(path) == 4
        return
    with made.manager(host_secret_file=moved) as manager:
        error = error_of(manager.audit_size)
    assert error is not None
    assert error.exit_code in (4, 5, 13)


def test_another_keystores_mark_under_our_name_hides_none(made: Desk, moved: Path) -> None:
    with Desk(made.folder.parent / "other") as other:
        other.manager().generate("m", license_key=LICENSE)
        other.close()
        shutil.copy(other.mark, mark_in(made, moved.parent))
    with made.manager(host_secret_file=moved) as manager:
        assert manager.find("m").generation == 1
    made.mark.unlink()
    with made.manager(host_secret_file=moved) as manager:
        assert isinstance(error_of(manager.audit_size), IntegrityError)


@pytest.mark.parametrize("full", [0, 1])
def test_of_two_folders_one_may_be_full(made: Desk, moved: Path, monkeypatch: pytest.MonkeyPatch, full: int) -> None:
    fill(monkeypatch, (made.secret.parent, moved.parent)[full])
    with made.manager(host_secret_file=moved) as manager:
        manager.revoke(["m"], reason="a change")
        written = (mark_in(made, moved.parent), made.mark)[full]
        assert size(written) == manager.audit_size()
    with made.manager(host_secret_file=moved) as manager:
        assert manager.find("m").status.value == "revoked"


def test_a_given_folder_that_is_full_is_an_error_and_nothing_is_locked(
    made: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = made.folder.parent / "marks"
    given.mkdir(mode=0o700)
    fill(monkeypatch, given)
    with made.manager(marks_dir=given) as manager:
        error = error_of(lambda: manager.rotate(["m"], license_key=LICENSE))
        assert isinstance(error, DiskFullError)
        assert error.remedy == "mark-not-written"
        assert error.message.startswith("the change was made")
    for marks_dir in (given, None):
        with made.manager(marks_dir=marks_dir) as manager:
            assert manager.find("m").generation == 2


def fill(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let no mark be written to a folder."""
    write = Marks.write_at

    def written(marks: Marks, path: Path, mark: object) -> None:
        if path.parent == folder:
            raise DiskFullError("no space")
        write(marks, path, mark)  # type: ignore[arg-type]

    monkeypatch.setattr(Marks, "write_at", written)


class Killed(BaseException):
    """The process ends here."""


def kill_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """End the process in the place of a write of a mark, after so many."""
    left, write = [writes], Marks.write_at

    def written(marks: Marks, path: Path, mark: object) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        write(marks, path, mark)  # type: ignore[arg-type]

    monkeypatch.setattr(Marks, "write_at", written)


@pytest.mark.parametrize("writes", range(2))
def test_a_kill_between_the_two_marks_leaves_the_new_keystore(
    made: Desk, moved: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    kill_after(monkeypatch, writes)
    with made.manager(host_secret_file=moved) as manager, pytest.raises(Killed):
        manager.rotate(["m"], license_key=LICENSE)
    monkeypatch.undo()
    with made.manager(host_secret_file=moved) as manager:
        assert manager.find("m").generation == 2
        manager.rotate(["m"], license_key=LICENSE)
    assert size(made.mark) == size(mark_in(made, moved.parent))


@pytest.mark.parametrize("writes", range(2))
def test_a_kill_while_rebind_moves_the_marks_leaves_the_old_or_the_new_place(
    made: Desk, moved: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """It writes a mark into the new folder, commits, and writes that mark again."""
    kill_after(monkeypatch, writes)
    with made.manager(host_secret_file=moved) as manager, pytest.raises(Killed):
        manager.rebind(LICENSE)
    monkeypatch.undo()
    if writes:
        shutil.rmtree(made.secret.parent)
    with made.manager(host_secret_file=None if writes else moved) as manager:
        assert recorded(manager) == (
            str(moved if writes else made.secret),
            str((moved if writes else made.secret).parent),
        )
        manager.rotate(["m"], license_key=LICENSE)
        assert manager.find("m").generation == 2


@pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
def test_where_the_host_secrets_folder_is_read_only_the_marks_lie_elsewhere(made: Desk) -> None:
    marks, host = made.folder.parent / "marks", made.secret.parent
    marks.mkdir(mode=0o700)
    program = f"""
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError
with KeyManager({str(made.folder)!r}) as manager:
    try:
        manager.rotate(["m"], license_key={LICENSE!r})
    except TikTrueKeysError as error:
        print(error.code, error.remedy)
with KeyManager({str(made.folder)!r}, marks_dir={str(marks)!r}) as manager:
    print(manager.rotate(["m"], license_key={LICENSE!r}).changed)
    manager.rebind({LICENSE!r})
with KeyManager({str(made.folder)!r}) as manager:
    print(manager.rotate(["m"], license_key={LICENSE!r}).changed, manager.find("m").generation)
"""
    said = in_a_namespace(f"mount --bind {host} {host} && mount -o remount,ro,bind {host}", program)
    assert said == "unavailable mark-not-written\nTrue\nTrue 4\n"
    assert size(mark_in(made, marks)) > size(made.mark)
