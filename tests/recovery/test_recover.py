"""A keystore on another machine, from a backup and shares; or where it lies, after too much changed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import facts
from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, error_of, events, models
from tests.recovery.escrows import escrow_of
from tiktrue_keys.core.lifecycle import Status, Use
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import (
    InsecureError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UsageError,
    WrongLicenseError,
    WrongMachineError,
)
from tiktrue_keys.recovery.escrow import the_escrow, verify_escrow
from tiktrue_keys.recovery.recover import preview_recovery, recover
from tiktrue_keys.recovery.shares import Share

ELSEWHERE = {kind: value[::-1] for kind, value in facts.FIVE.items()}
"""Another machine: no fact in common."""


@pytest.fixture
def first(desk: Desk) -> Desk:
    """The machine that is lost later."""
    facts.become(facts.FIVE)
    return desk


@pytest.fixture
def keystore(first: Desk) -> KeyManager:
    manager = first.manager()
    manager.generate("llama", license_key=LICENSE)
    manager.generate("open", no_license=True)
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
    assert {notice.code for notice in done.warnings} == {"replaced-keystore", "new-epoch"}


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
    assert {notice.code for notice in done.warnings} == {"revocations-lost", "new-epoch"}


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


def test_a_backup_from_before_the_escrow(first: Desk, keystore: KeyManager) -> None:
    early = first.folder.parent / "early.db"
    keystore.backup(early)
    shares = escrow_of(keystore)
    found = error_of(lambda: recover(first.manager(), early, shares[:3]))
    assert isinstance(found, NotFoundError)
    assert "from before escrow create" in found.hint


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
    facts.become(facts.FIVE)
    shutil.rmtree(first.folder)
    facts.become(ELSEWHERE)
    assert models(second.manager()) == ["llama", "open"]
