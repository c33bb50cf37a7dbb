"""backup and restore: a copy that opens on its machine only, put back as a new epoch without reviving anything."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.keystores import FILE_ID, LICENSE, Desk, answers, container, error_of, events, file_operation, models
from tiktrue_keys.core.keys.keyring import must_get_key
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.preview_restore import preview_restore
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import BusyError, IntegrityError, NotFoundError, RefusedError, WrongMachineError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    made.generate("mistral", license_key=LICENSE)
    return made


@pytest.fixture
def saved(desk: Desk, manager: KeyManager) -> Path:
    """A backup of the keystore with two keys."""
    path = desk.folder.parent / "saved.db"
    manager.backup(path)
    return path


def test_a_backup_is_a_private_file_with_the_record_of_itself(manager: KeyManager, saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert events(manager)[-1] == ("backup", "ok")
    assert {path.name for path in saved.parent.iterdir()} == {"keys", "host", "saved.db"}


def test_it_does_not_replace_a_file_unless_told(manager: KeyManager, desk: Desk) -> None:
    taken = desk.folder.parent / "taken"
    taken.write_text("something of somebody")
    assert isinstance(error_of(lambda: manager.backup(taken)), RefusedError)
    assert taken.read_text() == "something of somebody"
    manager.backup(taken, force=True)
    assert taken.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("name", ["keys/inside.db", "nowhere/saved.db"])
def test_a_place_that_is_none(manager: KeyManager, desk: Desk, name: str) -> None:
    assert isinstance(error_of(lambda: manager.backup(desk.folder.parent / name)), (RefusedError, NotFoundError))


def test_a_keystore_that_is_being_written_to_is_waited_for(desk: Desk, manager: KeyManager, saved: Path) -> None:
    """What it has revoked would be taken for lost."""
    manager.close()
    with closing(sqlite3.connect(desk.file, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert isinstance(error_of(lambda: desk.manager(lock_timeout=0.2).restore(saved)), BusyError)
        writer.execute("ROLLBACK")
    assert models(desk.manager()) == ["llama", "mistral"]
    assert desk.manager().document().epoch == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_rekey_while_it_is_copied_leaves_no_backup_of_the_former_root(
    desk: Desk, manager: KeyManager, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    exclusive, path = KeystoreSession.exclusive, desk.folder.parent / "raced.db"

    @contextmanager
    def then_a_rekey(session: KeystoreSession) -> Iterator[Keystore]:
        with exclusive(session) as keystore:
            yield keystore
        monkeypatch.undo()
        with desk.manager() as another:
            another.rekey()

    monkeypatch.setattr(KeystoreSession, "exclusive", then_a_rekey)
    error = error_of(lambda: manager.backup(path, force=force, operation_id="nightly"))
    assert (type(error), path.exists()) == (BusyError, False)
    assert manager.backup(path, force=force, operation_id="nightly").changed


class TestStoppedBeforeTheRecord:
    """What stops between the copy and its record leaves a whole copy; its operation goes on with that one."""

    def test_the_copy_that_lies_there_is_recorded(self, desk: Desk, manager: KeyManager) -> None:
        copy = unrecorded(desk, manager, "nightly")
        before, size = copy.stat(), desk.manager().audit_size()

        done = desk.manager().backup(copy, operation_id="nightly")

        assert done.audit_size == size
        assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert (done.changed, events(manager)[-1]) == (True, ("backup", "ok"))

    def test_another_operation_does_not_take_it(self, desk: Desk, manager: KeyManager) -> None:
        copy = unrecorded(desk, manager, "nightly")
        with pytest.raises(RefusedError, match="exists"):
            desk.manager().backup(copy, operation_id="weekly")

    def test_a_copy_that_is_damaged_is_not_taken_for_it(self, desk: Desk, manager: KeyManager) -> None:
        copy = unrecorded(desk, manager, "nightly")
        damaged = copy.read_bytes()[:-4096]
        copy.write_bytes(damaged)
        with pytest.raises(RefusedError, match="exists"):
            desk.manager().backup(copy, operation_id="nightly")
        assert copy.read_bytes() == damaged


def unrecorded(desk: Desk, manager: KeyManager, operation_id: str) -> Path:
    """The copy of a backup that was stopped as soon as it lay there."""
    copy = desk.folder.parent / "unrecorded.db"
    manager.close()

    def clock() -> float:
        if copy.exists():
            raise KeyboardInterrupt
        return desk.clock()

    with pytest.raises(KeyboardInterrupt):
        desk.manager(clock=clock).backup(copy, operation_id=operation_id)
    assert events(manager)[-1] == ("intent", "ok")
    return copy


def test_a_restore_brings_back_what_was_and_begins_a_new_epoch(manager: KeyManager, saved: Path, desk: Desk) -> None:
    manager.rotate(["llama"], license_key=LICENSE)
    restored = manager.restore(saved)
    assert restored.restored.epoch == 2
    assert manager.find("llama").generation == 1
    with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
        assert len(opened.secret) == 32
    assert manager.audit_verify() == manager.audit_size()
    assert {record.epoch for record in list(manager.audit_records())} == {1, 2}
    assert ("restore", "ok") in events(manager)
    manager.rotate(["llama"], license_key=LICENSE)
    desk.close()
    assert manager.find("llama").generation == 2


def test_the_keystore_that_was_there_is_kept_and_refused_when_it_is_put_back(
    manager: KeyManager, saved: Path, desk: Desk
) -> None:
    manager.rotate(["llama"], license_key=LICENSE)
    restored = manager.restore(saved)
    assert restored.restored.replaced is not None
    desk.close()
    restored.restored.replaced.replace(desk.file)
    assert isinstance(error_of(lambda: desk.manager().find("llama")), IntegrityError)


def test_other_managers_notice(manager: KeyManager, saved: Path, desk: Desk) -> None:
    other = desk.manager()
    manager.rotate(["llama"], license_key=LICENSE)
    assert other.find("llama").generation == 2
    manager.restore(saved)
    assert other.find("llama").generation == 1
    other.rotate(["llama"], license_key=LICENSE)
    assert manager.find("llama").generation == 2


def test_nothing_that_was_revoked_or_destroyed_comes_alive(manager: KeyManager, saved: Path) -> None:
    manager.revoke(["llama", "mistral"], reason="lost")
    for _ in range(2):
        manager.cleanup(["mistral"], after=0)
    restored = manager.restore(saved)
    assert manager.find("llama").status is Status.REVOKED
    assert manager.find("mistral").status is Status.DESTROYED
    assert "carried-over" in [notice.code for notice in restored.warnings]
    assert error_of(lambda: manager.open_key("mistral", LICENSE, use=Use.RECOVER_REVOKED)) is not None


def test_the_secret_of_a_destroyed_key_does_not_come_back_into_the_file(manager: KeyManager, saved: Path) -> None:
    key_id = manager.revoke(["mistral"], reason="lost").keys[0].key_id
    for _ in range(2):
        manager.cleanup(["mistral"], after=0)
    manager.restore(saved)
    with manager._session.read() as (view, now):
        assert must_get_key(view.rows, key_id, now).wrapped == b""


def test_no_container_nor_unfinished_operation_is_forgotten(manager: KeyManager, saved: Path) -> None:
    key = manager.find("llama")
    manager.register(container(key))
    manager.begin_file_operation(file_operation("rewrap", before=(key,), after=(key,), file_id=b"i" * 16))
    manager.restore(saved)
    assert FILE_ID in [record.file_id for record in manager.containers(key.key_id)]
    manager.revoke([key.key_id], reason="lost")
    assert not manager.cleanup(after=0).marked


def test_a_copy_opens_on_its_machine_only(manager: KeyManager, saved: Path, desk: Desk) -> None:
    desk.close()
    desk.secret.write_bytes(bytes(32))
    before = desk.file.read_bytes()
    assert isinstance(error_of(lambda: desk.manager().restore(saved)), WrongMachineError)
    assert desk.file.read_bytes() == before


def test_a_damaged_copy_replaces_nothing(manager: KeyManager, saved: Path, desk: Desk) -> None:
    before = answers(manager)
    whole = saved.read_bytes()
    for damage in (whole[: len(whole) // 2], whole.replace(b"CREATE TABLE", b"CREATE TABLF"), b"", b"no database"):
        saved.write_bytes(damage)
        assert error_of(lambda: manager.restore(saved)) is not None
    assert isinstance(error_of(lambda: manager.restore(saved.with_name("nowhere"))), NotFoundError)
    assert {name: answer for name, answer in answers(manager).items() if name == "keys"} == {"keys": before["keys"]}
    assert {path.name for path in desk.folder.iterdir()} == {"keystore.db", "keystore.lock", "keystore.reserve"}


def test_a_copy_whose_key_has_a_wrong_member_replaces_nothing(manager: KeyManager, saved: Path, desk: Desk) -> None:
    """Its row is sealed and fits the root, as only a holder of the keystore's secret can make it."""
    key = manager.find("llama")
    with manager.session.write(new_operation_id()) as transaction:
        payload = transaction.rows.get(RecordKind.KEY, key.key_id)
        assert payload is not None
        transaction.rows.put(RecordKind.KEY, key.key_id, payload | {"generation": 0})
        transaction.record("mischief")
    bad = manager.backup(saved.with_name("bad.db")).path
    manager.restore(saved)
    for refused in (lambda: manager.restore(bad), lambda: preview_restore(desk.session(), bad)):
        error = error_of(refused)
        assert isinstance(error, IntegrityError)
        assert error.message.endswith("bad.db does not open: a key record is malformed: generation")
    assert manager.find("llama") == key


def test_a_restore_onto_nothing(saved: Path, desk: Desk) -> None:
    desk.close()
    desk.file.unlink()
    with desk.manager() as manager:
        assert manager.restore(saved).restored.replaced is None
        assert models(manager) == ["llama", "mistral"]


def test_repeating_its_operation_restores_once(manager: KeyManager, saved: Path) -> None:
    first = manager.restore(saved, operation_id="recover")
    manager.rotate(["llama"], license_key=LICENSE)
    again = manager.restore(saved, operation_id="recover")
    assert (first.changed, again.changed) == (True, False)
    assert manager.find("llama").generation == 2


def test_a_restore_that_was_killed_before_the_rename_leaves_no_second_copy(
    manager: KeyManager, saved: Path, desk: Desk
) -> None:
    os.link(desk.file, desk.folder / "keystore-20261124T030000Z.replaced.db")
    kept = manager.restore(saved).restored.replaced
    assert list(desk.folder.glob("*.replaced.db")) == [kept]


def test_a_clock_far_ahead_restores_nothing(manager: KeyManager, saved: Path, desk: Desk) -> None:
    desk.clock.forward(days=3650)
    error = error_of(lambda: manager.restore(saved))
    desk.clock.forward(days=-3650)
    assert isinstance(error, RefusedError)
    assert manager.find("llama").status is Status.ACTIVE


def test_a_damaged_keystore_does_not_replace_a_good_backup(desk: Desk, tmp_path: Path) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        manager.backup(tmp_path / "copy.db")
    good = (tmp_path / "copy.db").read_bytes()
    desk.edit("UPDATE record SET sealed = zeroblob(length(sealed)) WHERE kind = 1")
    with desk.manager() as manager:
        assert isinstance(error_of(lambda: manager.backup(tmp_path / "copy.db", force=True)), IntegrityError)
    assert (tmp_path / "copy.db").read_bytes() == good
    assert [path.name for path in tmp_path.glob(".copy.db*")] == []


def test_a_restore_beside_the_one_in_use_says_that_it_ends(desk: Desk, tmp_path: Path) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        manager.backup(tmp_path / "copy.db")
    other = Desk(tmp_path / "other")
    other.secret = desk.secret
    with other.manager() as elsewhere:
        restored = elsewhere.restore(tmp_path / "copy.db")
    assert "other-copy" in {notice.code for notice in restored.warnings}
    with desk.manager() as manager:
        assert isinstance(error_of(manager.audit_size), IntegrityError)
