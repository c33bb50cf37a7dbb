"""cleanup: marks in one run, destroys in a later one, and keeps what anybody may still need."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from tests.keystores import FILE_ID, LICENSE, Desk, container, error_of, events, file_operation
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, Use
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import GAP
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import NotFoundError, RefusedError, RevokedError, UsageError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    return made


@pytest.fixture
def revoked(manager: KeyManager) -> ManagedKey:
    return manager.revoke(["llama"], reason="lost").keys[0]


def only(keys: tuple[ManagedKey, ...]) -> str:
    (key,) = keys
    return key.key_id


class TestTwoRuns:
    def test_the_first_marks_the_second_destroys(self, manager: KeyManager, desk: Desk, revoked: ManagedKey) -> None:
        first = manager.cleanup(after=100)
        assert only(first.marked) == revoked.key_id
        assert first.destroyed == ()
        assert manager.find(revoked.key_id).destroy_at == desk.clock.now + 100
        desk.clock.forward(seconds=99)
        waiting = manager.cleanup(after=100)
        assert not waiting.changed
        assert "marked" in waiting.kept[0].reason
        desk.clock.forward(seconds=1)
        assert only(manager.cleanup(after=100).destroyed) == revoked.key_id
        assert events(manager)[-2:] == [("cleanup-mark", "ok"), ("cleanup-destroy", "ok")]

    def test_it_looks_at_deprecated_and_expired_ones_once_they_decrypt_no_more(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("rotated", no_license=True)
        manager.generate("left", no_license=True)
        manager.rotate(["rotated"])
        for days, wanted in ((25, 0), (25, 0), (25, 0), (25, 0), (19, 0), (1, 3)):
            desk.clock.forward(days=days)
            manager.record_use("alive", key=manager.find("left"), detail={})
            assert len(manager.cleanup(dry_run=True).marked) == wanted

    def test_a_dry_run_changes_nothing(self, manager: KeyManager, revoked: ManagedKey) -> None:
        size = manager.audit_size()
        result = manager.cleanup(dry_run=True)
        assert only(result.marked) == revoked.key_id
        assert (result.changed, result.dry_run, manager.audit_size()) == (False, True, size)
        assert manager.find(revoked.key_id).destroy_at is None

    def test_nothing_to_do_writes_nothing(self, manager: KeyManager) -> None:
        size = manager.audit_size()
        assert not manager.cleanup().changed
        assert manager.audit_size() == size

    @pytest.mark.parametrize("after", [-1, 10**17, 0.5, float("inf")])
    def test_impossible_periods(self, manager: KeyManager, revoked: ManagedKey, after: int) -> None:
        with pytest.raises(UsageError):
            manager.cleanup(after=after)


class TestDestroyed:
    def test_a_tombstone_stays_and_the_wrapped_secret_is_not_in_the_file_any_more(
        self, manager: KeyManager, desk: Desk, revoked: ManagedKey
    ) -> None:
        desk.close()
        rows = {sealed for (sealed,) in desk.rows("SELECT sealed FROM record WHERE kind = 1")}
        assert len(rows) == 1
        (row,) = rows
        assert row in desk.file.read_bytes()
        manager.cleanup(after=0)
        desk.close()
        (marked,) = {sealed for (sealed,) in desk.rows("SELECT sealed FROM record WHERE kind = 1")}
        manager.cleanup(after=0)
        tombstone = manager.find(revoked.key_id)
        assert (tombstone.status, tombstone.revoke_reason) == (Status.DESTROYED, "lost")
        assert tombstone.destroyed_at == desk.clock.now
        desk.close()
        data = desk.file.read_bytes()
        for sealed in (row, marked):
            assert not any(sealed[at : at + 16] in data for at in range(len(sealed) - 16))

    def test_a_wrapped_secret_is_nowhere_in_clear_before_either(self, manager: KeyManager, desk: Desk) -> None:
        with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
            secret = bytes(opened.secret.view)
        desk.close()
        data = desk.file.read_bytes()
        assert secret not in data
        assert base64.b64encode(secret) not in data

    def test_nothing_opens_it_and_nothing_cleans_it_again(self, manager: KeyManager, revoked: ManagedKey) -> None:
        manager.cleanup(after=0)
        manager.cleanup(after=0)
        for use in Use:
            error = error_of(lambda use=use: manager.open_key(revoked.key_id, LICENSE, use=use))  # type: ignore[misc]
            assert isinstance(error, RefusedError)
        assert isinstance(error_of(lambda: manager.cleanup([revoked.key_id])), RefusedError)
        assert not manager.cleanup(after=0).changed
        assert [check.ok for check in manager.validate(deep=True).checks] == [False]

    def test_a_destroyed_link_does_not_break_its_chain(self, manager: KeyManager) -> None:
        manager.rotate(["llama"], license_key=LICENSE)
        first, _ = manager.chain("llama")
        manager.revoke([first.key_id], reason="lost")
        manager.cleanup(after=0)
        manager.cleanup(after=0)
        manager.rotate(["llama"], license_key=LICENSE)
        assert [key.status.value for key in manager.chain("llama")] == ["destroyed", "rotating", "active"]


class TestCancelled:
    def test_the_mark_goes_and_the_next_run_marks_again(
        self, manager: KeyManager, desk: Desk, revoked: ManagedKey
    ) -> None:
        manager.cleanup(after=0)
        result = manager.cleanup(cancel=[revoked.key_id])
        assert only(result.cancelled) == revoked.key_id
        assert manager.find(revoked.key_id).destroy_at is None
        assert only(manager.cleanup(after=0).marked) == revoked.key_id

    def test_what_is_not_marked_cannot_be_cancelled(self, manager: KeyManager, revoked: ManagedKey) -> None:
        assert isinstance(error_of(lambda: manager.cleanup(cancel=[revoked.key_id])), RefusedError)
        manager.cleanup(after=0)
        manager.cleanup(after=0)
        assert isinstance(error_of(lambda: manager.cleanup(cancel=[revoked.key_id])), RefusedError)

    def test_it_takes_its_keys_itself(self, manager: KeyManager, revoked: ManagedKey) -> None:
        with pytest.raises(UsageError):
            manager.cleanup([revoked.key_id], cancel=[revoked.key_id])


class TestNamed:
    def test_only_these(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("a", no_license=True)
        manager.generate("b", no_license=True)
        manager.revoke(["a", "b"], reason="lost")
        assert [key.model_id for key in manager.cleanup(["a"]).marked] == ["a"]

    def test_one_that_is_no_candidate_is_refused(self, manager: KeyManager) -> None:
        error = error_of(lambda: manager.cleanup(["llama"]))
        assert isinstance(error, RefusedError)
        assert "active" in error.message

    def test_one_that_is_kept_is_refused_with_the_reason(self, manager: KeyManager, revoked: ManagedKey) -> None:
        manager.register(container(revoked))
        error = error_of(lambda: manager.cleanup([revoked.key_id]))
        assert isinstance(error, RefusedError)
        assert "/models/llama.ttm" in error.message


class TestKept:
    def kept(self, manager: KeyManager, **options: object) -> list[str]:
        """The reasons; nothing may have been marked or destroyed."""
        result = manager.cleanup(after=0, **options)  # type: ignore[arg-type]
        assert not result.changed
        return [kept.reason for kept in result.kept]

    def test_what_a_registered_container_needs(self, manager: KeyManager, revoked: ManagedKey) -> None:
        manager.register(container(revoked))
        (reason,) = self.kept(manager)
        assert reason == "container /models/llama.ttm needs it"
        manager.forget(FILE_ID)
        assert manager.cleanup(after=0).changed

    def test_what_was_registered_counts_and_a_header_only_delays(
        self, manager: KeyManager, revoked: ManagedKey
    ) -> None:
        """Anyone who can write the file can write the header that cleanup reads."""
        manager.register(container(revoked))
        (reason,) = self.kept(manager, wraps_in=lambda _: frozenset({"another"}))
        assert "needs it" in reason
        manager.register(replace(container(revoked), keys=frozenset({"another_0123456789abcdef"})))
        (reason,) = self.kept(manager, wraps_in=lambda _: frozenset({revoked.key_id}))
        assert "unverified header" in reason
        confirmed = manager.cleanup(after=0, wraps_in=lambda _: frozenset({revoked.key_id}), confirm=[revoked.key_id])
        assert only(confirmed.marked) == revoked.key_id

    def test_a_container_that_cannot_be_read_needs_all_it_was_registered_with(
        self, manager: KeyManager, revoked: ManagedKey
    ) -> None:
        manager.register(container(revoked))
        (reason,) = self.kept(manager, wraps_in=lambda _: None)
        assert "cannot be read" in reason

    def test_reading_containers_may_ask_the_manager_itself(self, manager: KeyManager, revoked: ManagedKey) -> None:
        def wraps_in(record: ContainerRecord) -> frozenset[str]:
            return frozenset(key_id for key_id in record.keys if manager.find(key_id).model_id == "llama")

        manager.register(container(revoked))
        assert len(self.kept(manager, wraps_in=wraps_in)) == 1

    def test_one_that_was_registered_while_the_files_were_read(self, manager: KeyManager, revoked: ManagedKey) -> None:
        def wraps_in(record: ContainerRecord) -> frozenset[str]:
            manager.register(container(revoked, file_id=b"n" * 16, path="/models/new.ttm"))
            return frozenset()

        manager.register(container(revoked))
        result = manager.cleanup(after=0, wraps_in=wraps_in)
        assert not result.marked
        assert manager.find(revoked.key_id).destroy_at is None

    def test_one_that_was_rewrapped_while_the_files_were_read(self, manager: KeyManager, revoked: ManagedKey) -> None:
        def wraps_in(record: ContainerRecord) -> frozenset[str]:
            manager.register(container(revoked))
            return frozenset()

        manager.register(container(manager.generate("other", license_key=LICENSE).keys[0]))
        assert not manager.cleanup(after=0, wraps_in=wraps_in).marked

    def test_what_an_unfinished_operation_may_still_need(self, manager: KeyManager, revoked: ManagedKey) -> None:
        operation = manager.begin_file_operation(file_operation("reencrypt", before=(revoked,), after=()))
        (reason,) = self.kept(manager, wraps_in=lambda _: frozenset())
        assert "unfinished reencrypt of /models/llama.ttm" in reason
        manager.finish_file_operation(
            operation.operation_id, outcome="ok", keys=frozenset({"another_0123456789abcdef"})
        )
        assert manager.cleanup(after=0, wraps_in=lambda _: frozenset()).changed

    def test_a_mark_does_not_outweigh_a_container_that_came_later(
        self, manager: KeyManager, desk: Desk, revoked: ManagedKey
    ) -> None:
        manager.cleanup(after=0)
        manager.register(container(revoked))
        assert len(self.kept(manager)) == 1

    def test_a_word_for_a_key_that_does_not_exist_is_not_found(self, manager: KeyManager) -> None:
        for dry_run in (True, False):
            with pytest.raises(NotFoundError, match="no key another_0123456789abcdef"):
                manager.cleanup(confirm=["another_0123456789abcdef"], dry_run=dry_run)

    def test_one_that_went_into_a_pipe_waits_for_a_word(self, manager: KeyManager, revoked: ManagedKey) -> None:
        manager.register(container(revoked, path="", piped=True))
        assert len(self.kept(manager)) == 1
        another = manager.generate("another", no_license=True).keys[0]
        assert len(self.kept(manager, confirm=[another.key_id])) == 1
        for dry_run in (True, False):
            told = manager.cleanup(after=0, confirm=[revoked.key_id, another.key_id], dry_run=dry_run).warnings
            assert [(each.code, each.key_id) for each in told] == [("idle-confirmation", another.key_id)]
        assert only(manager.cleanup(after=0, confirm=[revoked.key_id]).destroyed) == revoked.key_id
        with pytest.raises(UsageError, match="does not process others"):
            manager.cleanup(cancel=[revoked.key_id], confirm=[revoked.key_id])

    def test_a_word_does_not_go_for_a_file(self, manager: KeyManager, revoked: ManagedKey) -> None:
        manager.register(container(revoked, path="", piped=True))
        manager.register(container(revoked, file_id=b"f" * 16, path="/models/file.ttm"))
        assert len(self.kept(manager, confirm=[revoked.key_id])) == 1

    def test_a_word_does_not_go_for_an_unfinished_operation(self, manager: KeyManager, revoked: ManagedKey) -> None:
        manager.begin_file_operation(file_operation("encrypt", after=(revoked,), path="", piped=True))
        assert len(self.kept(manager, confirm=[revoked.key_id])) == 1


@pytest.mark.parametrize("days", [29, 31, 365])
@pytest.mark.parametrize("synchronised", [True, None])
def test_a_quiet_keystore_destroys_after_any_silence_that_the_kernel_does_not_doubt(
    desk: Desk, days: int, synchronised: bool | None
) -> None:
    with desk.manager(synchronised=lambda: synchronised) as manager:
        key = manager.generate("llama", no_license=True).keys[0]
        manager.revoke([key.key_id], reason="lost")
        manager.cleanup(after=0)
        desk.clock.forward(days=days)
        assert only(manager.cleanup(after=0).destroyed) == key.key_id


def test_a_registry_that_may_lack_containers_keeps_every_key_until_the_operator_has_looked(
    desk: Desk, revoked: ManagedKey
) -> None:
    manager = desk.manager(synchronised=lambda: False)  # it is not a matter of the clock
    with manager.session.write(new_operation_id()) as transaction:  # as an earlier version's restore stored it
        transaction.rows.put(RecordKind.CLOCK_GAP, GAP, {"since": transaction.now, "until": transaction.now})
        transaction.record("restore")
    manager.cleanup(after=0)
    result = manager.cleanup(after=0)
    assert result.destroyed == ()
    assert result.kept[0].remedy == "registry-lost"
    manager.accept_clock()
    assert only(manager.cleanup(after=0).destroyed) == revoked.key_id


def test_the_secret_of_a_marked_key_can_still_be_saved(manager: KeyManager, revoked: ManagedKey) -> None:
    manager.cleanup(after=0)
    assert isinstance(error_of(lambda: manager.open_key(revoked.key_id, LICENSE, use=Use.DECRYPT)), RevokedError)
    with manager.open_key(revoked.key_id, LICENSE, use=Use.RECOVER_REVOKED) as opened:
        assert len(opened.secret) == 32
