"""A keystore on another machine, from a backup and shares; or where it lies, after too much changed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.faults import facts
from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, desk_in_memory, error_of, events, models
from tests.recovery.escrows import escrow_of
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.core.keystore import host_secret, marks
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.restore import RestoredKeystore
from tiktrue_keys.errors import (
    InsecureError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UsageError,
    WrongLicenseError,
    WrongMachineError,
)
from tiktrue_keys.recovery.escrow import the_escrow, verify_escrow
from tiktrue_keys.recovery.recover import preview_recovery, recover
from tiktrue_keys.recovery.shares import Share

ELSEWHERE = {kind: value[::-1] for kind, value in facts.FIVE.items()}
"""Another machine: no fact in common."""


def codes(done: RestoredKeystore) -> set[str]:
    """Return the codes of the warnings, without that of the tests' own folder, which may lie in memory."""
    return {notice.code for notice in done.warnings} - {"volatile-storage"}


@pytest.fixture
def first(desk: Desk) -> Desk:
    """The machine that is lost later."""
    facts.become(facts.FIVE)
    return desk


@pytest.fixture
def keystore(first: Desk, manager: KeyManager) -> KeyManager:
    """Made on that machine, since `first` comes before it."""
    assert [slot.type for slot in manager.document().slots] == ["machine"] * (len(facts.FIVE) - 1)
    return manager


@pytest.fixture
def shares(keystore: KeyManager) -> list[Share]:
    return escrow_of(keystore)


@pytest.fixture
def backup(keystore: KeyManager, shares: list[Share], first: Desk) -> Path:
    path = first.folder.parent / "backup.db"
    keystore.backup(path)
    return path


@pytest.fixture
def second(first: Desk, backup: Path) -> Iterator[Desk]:
    """A new machine: nothing of the first is there."""
    folder = first.folder.parent / "new machine"
    folder.mkdir()
    with Desk(folder) as made:
        made.clock.now = first.clock.now
        facts.become(ELSEWHERE)
        yield made


def secret_of(manager: KeyManager, key: str, license_key: str | None) -> bytes:
    with manager.open_key(key, license_key, use=Use.DECRYPT) as opened:
        return bytes(opened.secret.view)


def test_every_key_opens_there_with_its_license(
    keystore: KeyManager, second: Desk, backup: Path, shares: list[Share]
) -> None:
    facts.become(facts.FIVE)
    before = [secret_of(keystore, "llama", LICENSE), secret_of(keystore, "open", None)]
    facts.become(ELSEWHERE)
    manager = second.manager()
    done = recover(manager, backup, [shares[4], shares[1], shares[2]])
    assert (done.changed, done.restored.epoch, done.restored.replaced) == (True, 2, None)
    assert [secret_of(manager, "llama", LICENSE), secret_of(manager, "open", None)] == before
    assert isinstance(error_of(lambda: secret_of(manager, "llama", OTHER_LICENSE)), WrongLicenseError)
    assert manager.validate(deep=True).checks
    assert manager.audit_verify() == manager.audit_size()


def test_it_is_bound_to_the_new_machine_and_to_it_alone(second: Desk, backup: Path, shares: list[Share]) -> None:
    recover(second.manager(), backup, shares[:3])
    document = second.manager().document()
    assert document.host_secret_path == str(second.secret)
    assert {path.name for path in second.secret.parent.iterdir()} >= {"secret", f"{document.keystore_id.hex()}.mark"}
    second.close()
    facts.become(facts.FIVE)
    assert isinstance(error_of(lambda: second.manager().keys()), WrongMachineError)
    facts.become({**ELSEWHERE, FactKind.DISK: "another"})
    assert models(second.manager()) == ["llama", "open"]


def test_its_host_secret_takes_part(second: Desk, backup: Path, shares: list[Share]) -> None:
    recover(second.manager(), backup, shares[:3])
    second.close()
    second.secret.write_bytes(bytes(32))
    assert isinstance(error_of(lambda: second.manager().keys()), WrongMachineError)


def test_a_host_secret_that_is_there_is_used(second: Desk, backup: Path, shares: list[Share]) -> None:
    second.secret.parent.mkdir(mode=0o700)
    second.secret.write_bytes(bytes(range(32)))
    second.secret.chmod(0o600)
    recover(second.manager(), backup, shares[:3])
    assert second.secret.read_bytes() == bytes(range(32))


def test_the_escrow_goes_on_and_counts_as_verified(second: Desk, backup: Path, shares: list[Share]) -> None:
    manager = second.manager()
    now = second.clock.forward(days=3)
    recover(manager, backup, shares[:3])
    assert the_escrow(manager).verified_at == now
    verify_escrow(manager, shares[2:])
    assert ("escrow-recover", "ok") in events(manager)


def test_where_it_lies_nothing_is_lost(keystore: KeyManager, first: Desk, shares: list[Share], backup: Path) -> None:
    """Two boards and a disk were replaced: the keystore is there and opens nowhere."""
    keystore.generate("later", license_key=LICENSE)
    first.close()
    facts.become(ELSEWHERE)
    assert isinstance(error_of(lambda: first.manager().keys()), WrongMachineError)
    shutil.rmtree(first.secret.parent)
    manager = first.manager()
    preview = preview_recovery(manager, None, shares[:3])
    assert isinstance(preview.present_error, WrongMachineError)
    done = recover(manager, None, shares[:3])
    assert models(manager) == ["later", "llama", "open"]
    assert done.restored.replaced is not None
    assert done.restored.replaced.exists()
    assert codes(done) == {"replaced-keystore", "new-epoch"}


def test_what_a_killed_writer_left_is_undone_first(keystore: KeyManager, first: Desk, shares: list[Share]) -> None:
    """A hot journal beside the keystore: recovering without it would take half a transaction for the keystore."""
    keystore.generate("whole", no_license=True)
    first.close()
    _leave_a_hot_journal(first.file)
    facts.become(ELSEWHERE)
    manager = first.manager()
    recover(manager, None, shares[:3])
    assert models(manager) == ["llama", "open", "whole"]
    assert manager.validate(deep=True).checks


def _leave_a_hot_journal(file: Path) -> None:
    """Half of a transaction: its journal synced, its pages written, never committed."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE record SET revision = revision + 1")
    connection.execute("UPDATE audit SET sealed = zeroblob(3000)")
    copies = {path: path.read_bytes() for path in (file, file.with_name(file.name + "-journal"))}
    connection.close()
    for path, content in copies.items():
        path.write_bytes(content)
    assert copies[file.with_name(file.name + "-journal")]


def test_what_was_revoked_since_the_backup_stays_so(
    keystore: KeyManager, first: Desk, backup: Path, shares: list[Share]
) -> None:
    revoked = keystore.find("open").key_id
    keystore.revoke([revoked], reason="stolen")
    record = container(keystore.find("llama"))
    keystore.register(record)
    first.close()
    facts.become(ELSEWHERE)
    manager = first.manager()
    done = recover(manager, backup, shares[:3])
    assert manager.find(revoked).status is Status.REVOKED
    assert [each.path for each in manager.containers()] == [record.path]
    assert "carried-over" in {notice.code for notice in done.warnings}


def test_in_an_empty_place_lost_revocations_are_warned_of(second: Desk, backup: Path, shares: list[Share]) -> None:
    done = recover(second.manager(), backup, shares[:3])
    # The first desk's mark lies on this machine, so that its keystore may be in use elsewhere.
    # The backup that it was recovered from counts as a backup.
    assert codes(done) == {"revocations-lost", "new-epoch", "other-copy"}


def test_in_an_empty_place_nothing_is_destroyed_until_somebody_has_looked(
    second: Desk, backup: Path, shares: list[Share]
) -> None:
    """Containers that were made since the backup need their keys, and nobody here knows of them."""
    manager = second.manager()
    recover(manager, backup, shares[:3])
    for number in range(6):  # with something in the log, so that there is no silence of its own
        second.clock.forward(days=29)
        manager.generate(f"new-{number}", no_license=True)
        manager.cleanup(after=0)
    assert [manager.find(model).status for model in ("llama", "open")] == [Status.EXPIRED] * 2
    manager.accept_clock()
    manager.cleanup(after=0)
    manager.cleanup(after=0)
    keys = manager.keys()
    assert {key.model_id for key in keys if key.status is Status.DESTROYED} >= {"llama", "open"}


def test_where_the_old_machine_kept_its_mark_does_not_matter(
    first: Desk, second: Desk, backup: Path, shares: list[Share]
) -> None:
    """Here that path may be anything: a loop of links, somebody else's folder."""
    shutil.rmtree(first.secret.parent)
    first.secret.parent.symlink_to(first.secret.parent)
    recover(second.manager(), backup, shares[:3])
    assert models(second.manager()) == ["llama", "open"]


@pytest.mark.parametrize("given", [0, 1, 2])
def test_too_few_shares(second: Desk, backup: Path, shares: list[Share], given: int) -> None:
    assert isinstance(error_of(lambda: recover(second.manager(), backup, shares[:given])), UsageError)
    assert not second.folder.exists()
    assert not second.secret.exists()


def test_shares_of_an_escrow_that_was_replaced(
    keystore: KeyManager, first: Desk, shares: list[Share], backup: Path
) -> None:
    """They open the backup from before, and no later one."""
    escrow_of(keystore, replacing=True)
    later = backup.with_name("later.db")
    keystore.backup(later)
    first.close()
    facts.become(ELSEWHERE)
    assert isinstance(error_of(lambda: recover(first.manager(), later, shares[:3])), RefusedError)
    recover(first.manager(), backup, shares[:3])


class TestAReplacedEscrow:
    """It stays replaced, whichever backup is put back, where the keystore that knows it is there."""

    def test_a_restore(self, keystore: KeyManager, shares: list[Share], backup: Path) -> None:
        second_backup = backup.with_name("second.db")
        keystore.backup(second_backup)
        new = escrow_of(keystore, replacing=True)
        done = keystore.restore(second_backup)
        assert "carried-escrow" in {notice.code for notice in done.warnings}
        assert the_escrow(keystore).number == new[0].escrow
        verify_escrow(keystore, new[:3])
        assert isinstance(error_of(lambda: verify_escrow(keystore, shares[:3])), RefusedError)
        assert "no-recovery" in {notice.code for notice in keystore.validate().warnings}

    def test_a_restore_of_a_backup_from_before_any(self, keystore: KeyManager, first: Desk) -> None:
        early = first.folder.parent / "early.db"
        keystore.backup(early)
        shares = escrow_of(keystore)
        keystore.restore(early)
        verify_escrow(keystore, shares[:3])

    def test_a_recovery_by_the_old_shares(self, keystore: KeyManager, shares: list[Share], backup: Path) -> None:
        """On a machine that is well: what it knows counts, revocations too."""
        new = escrow_of(keystore, replacing=True)
        revoked = keystore.find("open").key_id
        keystore.revoke([revoked], reason="stolen")
        done = recover(keystore, backup, shares[:3])
        assert keystore.find(revoked).status is Status.REVOKED
        assert {"carried-over", "carried-escrow"} <= {notice.code for notice in done.warnings}
        assert the_escrow(keystore).verified_at is None
        verify_escrow(keystore, new[:3])

    def test_another_keystores_escrow_is_not_carried(
        self, keystore: KeyManager, backup: Path, shares: list[Share]
    ) -> None:
        with desk_in_memory() as other:
            stranger = other.manager()
            stranger.generate("llama", license_key=LICENSE)
            escrow_of(stranger)
            recover(stranger, backup, shares[:3])
            verify_escrow(stranger, shares[:3])
        assert models(keystore) == ["llama", "open"]


def test_revocations_are_known_without_host_secret_and_mark(
    keystore: KeyManager, first: Desk, backup: Path, shares: list[Share]
) -> None:
    revoked = keystore.find("open").key_id
    keystore.revoke([revoked], reason="stolen")
    first.close()
    shutil.rmtree(first.secret.parent)
    manager = first.manager()
    recover(manager, backup, shares[:3])
    assert manager.find(revoked).status is Status.REVOKED


def test_two_recoveries_from_one_backup_are_two_epochs(
    first: Desk, second: Desk, backup: Path, shares: list[Share]
) -> None:
    shutil.rmtree(first.secret.parent)
    epochs = []
    for _ in range(2):
        second.clock.forward(seconds=300)
        manager = second.manager()
        epochs.append(recover(manager, backup, shares[:3]).restored.epoch)
        assert manager.document().epoch == epochs[-1]
        second.close()
        for folder in (second.folder, second.secret.parent):
            shutil.rmtree(folder)
    assert epochs == [2 + 5, 2 + 10]


def test_a_restore_whose_mark_cannot_be_read_is_none(
    keystore: KeyManager, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would begin the same epoch twice."""

    def broken(*_: object, **__: object) -> NoReturn:
        raise UnavailableError("an I/O error")

    keystore.restore(backup)
    monkeypatch.setattr(marks, "read_mark", broken)
    assert isinstance(error_of(lambda: keystore.restore(backup)), UnavailableError)
    monkeypatch.undo()
    assert keystore.restore(backup).restored.epoch == 3


def test_a_backup_with_half_a_transaction_beside_it(second: Desk, backup: Path, shares: list[Share]) -> None:
    backup.with_name(backup.name + "-journal").write_bytes(b"x" * 600)
    found = error_of(lambda: recover(second.manager(), backup, shares[:3]))
    assert isinstance(found, RefusedError)
    assert found.remedy == "unfinished-backup"


def test_a_weak_machine_is_warned_of(second: Desk, backup: Path, shares: list[Share]) -> None:
    facts.become({FactKind.MACHINE_ID: "alone"})
    done = recover(second.manager(), backup, shares[:3])
    assert "weak-binding" in {notice.code for notice in done.warnings}


def test_the_host_secret_that_is_still_there_is_kept(
    keystore: KeyManager, first: Desk, shares: list[Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    first.close()
    monkeypatch.setattr(host_secret, "default_path", lambda: first.folder.parent / "default/secret")
    facts.become(ELSEWHERE)
    manager = first.manager(host_secret_file=None)
    recover(manager, None, shares[:3])
    assert manager.document().host_secret_path == str(first.secret)
    assert not (first.folder.parent / "default").exists()


def test_the_way_out_is_named_where_there_is_one(second: Desk, backup: Path, keystore: KeyManager) -> None:
    found = error_of(lambda: second.manager().restore(backup))
    assert isinstance(found, WrongMachineError)
    assert found.remedy == "recover-with-escrow"
    assert found.hint
    with desk_in_memory() as other:
        facts.become(facts.FIVE)
        manager = other.manager()
        manager.generate("llama", license_key=LICENSE)
        other.close()
        facts.become(ELSEWHERE)
        found = error_of(lambda: other.manager().keys())
    assert isinstance(found, WrongMachineError)
    assert found.remedy != "recover-with-escrow"


def test_a_preview_knows_how_far_this_machine_has_seen_it(
    keystore: KeyManager, first: Desk, second: Desk, backup: Path, shares: list[Share]
) -> None:
    known = preview_recovery(first.manager(), backup, shares[:3]).known
    assert known is not None
    assert (known.epoch, known.size) == (1, preview_recovery(first.manager(), backup, shares[:3]).backup.audit_size + 1)
    shutil.rmtree(first.secret.parent)
    assert preview_recovery(second.manager(), backup, shares[:3]).known is None


def test_a_backup_from_before_the_escrow(first: Desk, keystore: KeyManager) -> None:
    early = first.folder.parent / "early.db"
    keystore.backup(early)
    shares = escrow_of(keystore)
    found = error_of(lambda: recover(first.manager(), early, shares[:3]))
    assert isinstance(found, NotFoundError)
    assert "older than the escrow" in found.hint


def test_nothing_to_recover(second: Desk, shares: list[Share], backup: Path) -> None:
    for source in (None, backup.with_name("nothing.db")):
        found = error_of(lambda source=source: recover(second.manager(), source, shares[:3]))  # type: ignore[misc]
        assert isinstance(found, NotFoundError)
    assert not second.secret.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET sealed = zeroblob(length(sealed)) WHERE tag = (SELECT max(tag) FROM record)",
        "DELETE FROM record WHERE tag = (SELECT min(tag) FROM record)",
        "UPDATE audit SET sealed = (SELECT sealed FROM audit WHERE number = 1) WHERE number = 0",
        "UPDATE bucket SET digests = zeroblob(2048) WHERE page = (SELECT bucket / 64 FROM record)",
        "UPDATE header SET document = replace(document, '\"epoch\":1', '\"epoch\":2')",
        "UPDATE state SET audit_size = audit_size - 1",
    ],
)
def test_a_damaged_backup_changes_nothing(second: Desk, shares: list[Share], backup: Path, statement: str) -> None:
    connection = sqlite3.connect(backup)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()
    assert isinstance(error_of(lambda: preview_recovery(second.manager(), backup, shares[:3])), IntegrityError)
    assert isinstance(error_of(lambda: recover(second.manager(), backup, shares[:3])), IntegrityError)
    assert not second.file.exists()
    assert not list(second.folder.parent.rglob("*.restoring"))


def test_a_preview_writes_nothing(second: Desk, backup: Path, shares: list[Share]) -> None:
    before = backup.read_bytes()
    preview = preview_recovery(second.manager(), backup, shares[:3])
    assert (preview.backup.epoch, preview.present, preview.present_error) == (1, None, None)
    assert backup.read_bytes() == before
    assert not second.folder.exists()
    assert not second.secret.parent.exists()


def test_a_repeated_operation_is_no_second_one(second: Desk, backup: Path, shares: list[Share]) -> None:
    recover(second.manager(), backup, shares[:3], operation_id="once")
    again = recover(second.manager(), backup, shares[:3], operation_id="once")
    assert (again.changed, again.restored.epoch) == (False, 2)
    assert second.manager().document().epoch == 2


def test_another_backup_may_not_take_its_operation_id(
    second: Desk, backup: Path, shares: list[Share], tmp_path: Path
) -> None:
    recover(second.manager(), backup, shares[:3], operation_id="once")
    other = tmp_path / "other.db"
    other.write_bytes(backup.read_bytes())
    other.chmod(0o600)
    found = error_of(lambda: recover(second.manager(), other, shares[:3], operation_id="once"))
    assert isinstance(found, RefusedError)
    assert second.manager().document().epoch == 2


def test_a_clock_that_leapt(second: Desk, backup: Path, shares: list[Share]) -> None:
    second.clock.forward(days=401)
    assert isinstance(error_of(lambda: recover(second.manager(), backup, shares[:3])), RefusedError)
    recover(second.manager(), backup, shares[:3], accept_clock=True)


def test_a_secret_inside_the_keystores_folder(second: Desk, backup: Path, shares: list[Share]) -> None:
    manager = second.manager(host_secret_file=second.folder / "secret")
    assert isinstance(error_of(lambda: recover(manager, backup, shares[:3])), InsecureError)
    assert not second.file.exists()


def test_the_old_machine_is_not_needed_and_not_harmed(
    first: Desk, keystore: KeyManager, second: Desk, backup: Path, shares: list[Share]
) -> None:
    before = first.file.read_bytes()
    recover(second.manager(), backup, shares[:3])
    assert first.file.read_bytes() == before
    shutil.rmtree(first.folder)
    assert models(second.manager()) == ["llama", "open"]
