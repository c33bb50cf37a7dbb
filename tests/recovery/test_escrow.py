"""An escrow as a keystore has it: made, proven, replaced; it stays through every re-seal, and fails as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.core.operations.test_backup import unrecorded
from tests.faults import facts
from tests.independent.open_escrow import open_escrow
from tests.keystores import LICENSE, Desk, desk_in_memory, error_of, events
from tests.recovery.escrows import Holders, escrow_of
from tiktrue_keys.core.keystore.marks import Marks
from tiktrue_keys.core.keystore.slots import seal_to_escrow
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations import backup
from tiktrue_keys.core.operations.standing_notices import recovery_notices
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    DiskFullError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from tiktrue_keys.recovery.escrow import create_escrow, the_escrow, verify_escrow
from tiktrue_keys.recovery.shares import Share, combine


def slots(manager: KeyManager) -> list[str]:
    return [slot.type for slot in manager.document().slots]


def said(manager: KeyManager) -> str:
    with manager.session.read() as (view, _):
        return " ".join(notice.message for notice in recovery_notices(view.rows))


def test_it_is_recorded_and_adds_a_slot(manager: KeyManager) -> None:
    before = slots(manager)
    shares = escrow_of(manager, shares=4, threshold=2)
    assert slots(manager) == ["escrow", *before]
    assert events(manager)[-1] == ("escrow-create", "ok")
    escrow = the_escrow(manager)
    assert (escrow.number, escrow.shares, escrow.threshold) == (shares[0].escrow, 4, 2)
    assert escrow.verified_at is None


def test_its_shares_open_the_file_by_the_format_page_alone(manager: KeyManager, desk: Desk) -> None:
    shares = escrow_of(manager)
    root = bytes(manager.session.keystore.keys.root.view)
    opened = open_escrow(str(desk.file), [share.words for share in shares[2:]])
    assert opened.root == root
    assert opened.record(16, "escrow") == vars(the_escrow(manager))
    opened.database.close()


def test_what_is_warned_of_until_it_is_verified_and_backed_up(manager: KeyManager, desk: Desk) -> None:
    backups = desk.folder.parent
    manager.backup(backups / "before.db")
    assert said(manager).endswith(": no escrow was verified")
    shares = escrow_of(manager)
    assert said(manager).endswith(": no escrow was verified and no backup was taken since the escrow was created")
    verify_escrow(manager, shares[:3])
    assert said(manager).endswith(": no backup was taken since the escrow was created")
    manager.backup(backups / "after.db")
    assert said(manager) == ""
    escrow_of(manager, replacing=True)
    assert said(manager).endswith(": no escrow was verified and no backup was taken since the escrow was created")


def test_the_remedy_is_what_is_missing(manager: KeyManager, desk: Desk) -> None:
    def remedies() -> list[str]:
        with manager.session.read() as (view, _):
            return [notice.remedy for notice in recovery_notices(view.rows)]

    assert remedies() == ["begin-recovery"]
    shares = escrow_of(manager)
    assert remedies() == ["verify-and-back-up"]
    manager.backup(desk.folder.parent / "with-escrow.db")
    assert remedies() == ["verify-escrow"]
    verify_escrow(manager, shares[:3])
    assert remedies() == []
    shares = escrow_of(manager, replacing=True)
    verify_escrow(manager, shares[:3])
    assert remedies() == ["back-up"]


def test_verified_shares_are_recorded(manager: KeyManager, desk: Desk) -> None:
    shares = escrow_of(manager)
    now = desk.clock.forward(days=1)
    assert verify_escrow(manager, [shares[4], shares[0], shares[2]]).escrow.verified_at == now
    (record,) = list(manager.audit_records())[-1:]
    assert (record.event, record.detail) == ("escrow-verify", {"escrow": shares[0].escrow, "shares": [1, 3, 5]})


def test_another_keystores_shares(manager: KeyManager) -> None:
    escrow_of(manager)
    with desk_in_memory() as other:
        stranger = other.manager()
        stranger.generate("llama", license_key=LICENSE)
        shares = escrow_of(stranger)
    found = error_of(lambda: verify_escrow(manager, shares))
    assert isinstance(found, RefusedError)
    assert str(shares[0].escrow) in found.message
    assert str(the_escrow(manager).number) in found.message
    assert events(manager)[-1] == ("escrow-verify", "refused")
    assert the_escrow(manager).verified_at is None


def test_shares_where_there_is_no_escrow(manager: KeyManager) -> None:
    with desk_in_memory() as other:
        stranger = other.manager()
        stranger.generate("llama", license_key=LICENSE)
        shares = escrow_of(stranger)
    assert isinstance(error_of(lambda: verify_escrow(manager, shares)), NotFoundError)
    assert isinstance(error_of(lambda: the_escrow(manager)), NotFoundError)


def test_a_second_one_has_to_be_asked_for(manager: KeyManager) -> None:
    shares = escrow_of(manager)
    holders = Holders()
    found = error_of(lambda: create_escrow(manager, holders, shares=5, threshold=3))
    assert isinstance(found, RefusedError)
    assert (holders.shares, events(manager)[-1]) == ([], ("escrow-create", "refused"))
    verify_escrow(manager, shares[:3])


def test_the_old_shares_open_nothing_after_a_replacement(manager: KeyManager) -> None:
    old = escrow_of(manager)
    new = escrow_of(manager, replacing=True)
    assert slots(manager).count("escrow") == 1
    assert isinstance(error_of(lambda: verify_escrow(manager, old[:3])), RefusedError)
    verify_escrow(manager, new[:3])


def test_it_stays_through_a_rebind(desk: Desk) -> None:
    facts.become(facts.FIVE)
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    shares = escrow_of(manager)
    before = manager.document().slots
    facts.become(facts.with_another(FactKind.BOARD_SERIAL))
    assert desk.manager().rebind(LICENSE).changed
    after = desk.manager().document().slots
    assert [slot for slot in before if slot.type == "escrow"] == [slot for slot in after if slot.type == "escrow"]
    assert not {slot.salt for slot in before if slot.type == "machine"} & {slot.salt for slot in after}
    verify_escrow(desk.manager(), shares[1:4])


@pytest.mark.parametrize(("shares", "threshold"), [(0, 0), (3, 4), (17, 2), (5, 1)])
def test_impossible_numbers_reach_nobody(manager: KeyManager, shares: int, threshold: int) -> None:
    holders, before = Holders(), slots(manager)
    found = error_of(lambda: create_escrow(manager, holders, shares=shares, threshold=threshold))
    assert isinstance(found, UsageError)
    assert (holders.shares, slots(manager)) == ([], before)


def test_a_repeated_operation_is_no_second_one(manager: KeyManager) -> None:
    shares = escrow_of(manager, operation_id="once")
    holders = Holders()
    again = create_escrow(manager, holders, shares=5, threshold=3, operation_id="once")
    assert (again.changed, again.escrow.number, holders.shares) == (False, shares[0].escrow, [])


@pytest.mark.parametrize(
    "differing",
    [{"shares": 6}, {"threshold": 2}, {"replacing": True}, {"destination": "/elsewhere"}],
    ids=lambda differing: next(iter(differing)),
)
def test_another_request_may_not_take_its_id(manager: KeyManager, differing: dict[str, Any]) -> None:
    escrow_of(manager, operation_id="once", destination="/here")
    holders, before = Holders(), the_escrow(manager)
    request: dict[str, Any] = {"shares": 5, "threshold": 3, "destination": "/here", **differing}
    found = error_of(lambda: create_escrow(manager, holders, operation_id="once", **request))
    assert isinstance(found, RefusedError)
    assert found.message == "operation once was used for escrow-create with other arguments"
    assert (holders.shares, the_escrow(manager)) == ([], before)
    assert events(manager)[-1] == ("escrow-create", "refused")


def test_a_repeated_proof_is_recorded_once(manager: KeyManager, desk: Desk) -> None:
    shares = escrow_of(manager)
    first = verify_escrow(manager, shares[:3], operation_id="proof")
    size = manager.audit_size()
    desk.clock.forward(days=1)
    again = verify_escrow(manager, shares[:3], operation_id="proof")
    assert (first.changed, again.changed, again.escrow, manager.audit_size()) == (True, False, first.escrow, size)
    other = error_of(lambda: verify_escrow(manager, shares[2:], operation_id="proof"))
    assert isinstance(other, RefusedError)
    made = error_of(lambda: escrow_of(manager, replacing=True, operation_id="proof"))
    assert isinstance(made, RefusedError)
    assert the_escrow(manager) == first.escrow


def test_an_operation_whose_escrow_was_replaced(manager: KeyManager) -> None:
    escrow_of(manager, operation_id="once")
    escrow_of(manager, replacing=True)
    holders = Holders()
    found = error_of(lambda: create_escrow(manager, holders, shares=5, threshold=3, operation_id="once"))
    assert isinstance(found, RefusedError)
    assert holders.shares == []


def test_two_at_once_under_one_operation(manager: KeyManager, desk: Desk) -> None:
    """The second one comes while the first hands its shares over: one of the two has shares, and they count."""
    holders, other = Holders(), Holders()

    def hand_over(keystore_id: bytes, shares: Sequence[Share]) -> Callable[[], None]:
        create_escrow(desk.manager(), other, shares=5, threshold=3, replacing=True, operation_id="once")
        return holders(keystore_id, shares)

    found = error_of(
        lambda: create_escrow(manager, hand_over, shares=5, threshold=3, replacing=True, operation_id="once")
    )
    assert isinstance(found, RefusedError)
    assert (holders.taken_back, other.taken_back) == (True, False)
    verify_escrow(manager, other.shares[:3])


def test_a_slot_that_holds_something_else(manager: KeyManager) -> None:
    """What verifying is for: the shares open the slot, and not the keystore."""
    shares = escrow_of(manager)
    with (
        combine(shares) as secret,
        SecretBuffer.random() as wrong,
        manager.session.write(new_operation_id()) as transaction,
    ):
        slot = seal_to_escrow(wrong.view, secret.view, transaction.document.keystore_id)
        transaction.replace_document(transaction.document.with_slots((slot,)))
        transaction.record("a-test")
    assert isinstance(error_of(lambda: verify_escrow(manager, shares)), IntegrityError)
    assert the_escrow(manager).verified_at is None


class TestABackupThatDoesNotHoldIt:
    """It is no backup that an escrow needs, and nothing says that shares open it."""

    def test_the_escrow_is_made_while_it_is_copied(
        self, manager: KeyManager, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Share] = []
        leaving = backup._unrecorded_copy_removed

        def meanwhile(*rest: Any, **options: Any) -> Any:
            made.extend(escrow_of(desk.manager()))
            return leaving(*rest, **options)

        monkeypatch.setattr(backup, "_unrecorded_copy_removed", meanwhile)
        done = manager.backup(desk.folder.parent / "copy.db")
        verify_escrow(manager, made[:3])
        assert not done.holds_escrow
        assert said(manager).endswith(": no backup was taken since the escrow was created")

    def test_the_escrow_is_made_before_the_copy_of_a_killed_backup_is_recorded(
        self, manager: KeyManager, desk: Desk
    ) -> None:
        copy = unrecorded(desk, manager, "nightly")
        shares = escrow_of(manager)
        verify_escrow(manager, shares[:3])
        desk.manager().backup(copy, operation_id="nightly")
        assert said(manager).endswith(": no backup was taken since the escrow was created")

    def test_a_backup_after_it(self, manager: KeyManager, desk: Desk) -> None:
        escrow_of(manager)
        assert manager.backup(desk.folder.parent / "copy.db", operation_id="a").holds_escrow
        assert not manager.backup(desk.folder.parent / "copy.db", operation_id="a").holds_escrow


class TestFailing:
    """Shares that count are never taken back; shares that do not are."""

    def test_nobody_takes_the_shares(self, manager: KeyManager) -> None:
        def full(*_: object) -> Any:
            raise DiskFullError("no space")

        before = slots(manager)
        assert isinstance(error_of(lambda: create_escrow(manager, full, shares=5, threshold=3)), DiskFullError)
        assert slots(manager) == before

    def test_the_record_cannot_be_written(self, manager: KeyManager, monkeypatch: pytest.MonkeyPatch) -> None:
        old = escrow_of(manager)
        holders = Holders()

        def broken(*_: object) -> None:
            raise UnavailableError("an I/O error")

        monkeypatch.setattr(Keystore, "_commit", broken)
        found = error_of(lambda: create_escrow(manager, holders, shares=5, threshold=3, replacing=True))
        monkeypatch.undo()
        assert isinstance(found, UnavailableError)
        assert holders.taken_back
        verify_escrow(manager, old[:3])

    def test_whether_it_was_recorded_cannot_be_told(self, manager: KeyManager, desk: Desk) -> None:
        holders = Holders()

        def vanish(keystore_id: bytes, shares: Sequence[Share]) -> Callable[[], None]:
            desk.file.rename(desk.file.with_name("gone"))
            return holders(keystore_id, shares)

        found = error_of(lambda: create_escrow(manager, vanish, shares=5, threshold=3))
        assert found is not None
        assert not holders.taken_back

    def test_only_the_mark_cannot_be_written(self, manager: KeyManager, monkeypatch: pytest.MonkeyPatch) -> None:
        """The commit is durable by then: the new shares are the only ones."""
        escrow_of(manager)
        holders, write = Holders(), Marks.write

        def broken(marks: Marks, *rest: Any) -> None:
            monkeypatch.setattr(Marks, "write", write)
            raise DiskFullError("no space")

        monkeypatch.setattr(Marks, "write", broken)
        found = error_of(lambda: create_escrow(manager, holders, shares=5, threshold=3, replacing=True))
        assert isinstance(found, DiskFullError)
        assert not holders.taken_back
        verify_escrow(manager, holders.shares[:3])


def test_no_file_of_the_keystore_holds_the_secret_or_a_word(manager: KeyManager, desk: Desk) -> None:
    shares = escrow_of(manager)
    with combine(shares) as secret:
        hidden = [bytes(secret.view), *(share.words[-40:].encode() for share in shares)]
    desk.close()
    for folder in (desk.folder, desk.secret.parent):
        for name in os.listdir(folder):
            content = Path(folder, name).read_bytes()
            assert not any(each in content for each in hidden)
