"""The heartbeat of scheduled runs, a doubtful clock, and a year of a quiet keystore."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, NOON, Desk, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import GAP
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, TikTrueKeysError

SCHEDULED: list[tuple[str, Callable[[KeyManager], Any]]] = [
    ("rotate", lambda manager: manager.rotate(due=True)),
    ("cleanup", lambda manager: manager.cleanup()),
]
scheduled = pytest.mark.parametrize("run", [run for _, run in SCHEDULED], ids=[name for name, _ in SCHEDULED])


class ReadOnly(KeystoreSession):
    """A keystore on a read-only mount; permissions alone do not stop a test that runs as root."""

    def is_read_only(self) -> bool:
        return True


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", no_license=True)
    return made


@pytest.fixture
def unsynchronised(desk: Desk, manager: KeyManager) -> KeyManager:
    """Another manager of the keystore, on a machine whose kernel calls the clock unsynchronised."""
    assert manager.exists()
    return desk.manager(synchronised=lambda: False)


def heartbeat(desk: Desk) -> int | None:
    found: int | None = json.loads(desk.mark.read_bytes()).get("heartbeat")
    return found


def codes(result: Any) -> set[str]:
    return {notice.code for notice in result.warnings}


class TestRenewal:
    @scheduled
    def test_a_scheduled_run_renews_it_although_there_is_nothing_to_do_and_records_nothing(
        self, manager: KeyManager, desk: Desk, run: Callable[[KeyManager], Any]
    ) -> None:
        size = manager.audit_size()
        assert heartbeat(desk) is None
        desk.clock.forward(days=1)
        assert not run(manager).changed
        assert heartbeat(desk) == NOON + DAY
        assert manager.audit_size() == size

    @scheduled
    def test_at_most_once_a_day(self, manager: KeyManager, desk: Desk, run: Callable[[KeyManager], Any]) -> None:
        run(manager)
        desk.clock.forward(seconds=11 * 3_600)
        written = desk.mark.stat().st_ino
        run(manager)
        assert (heartbeat(desk), desk.mark.stat().st_ino) == (NOON, written)
        desk.clock.forward(seconds=3_600)
        run(manager)
        assert heartbeat(desk) == NOON + 12 * 3_600

    def test_neither_a_dry_run_nor_another_operation_renews_it(self, manager: KeyManager, desk: Desk) -> None:
        manager.rotate(due=True, dry_run=True)
        manager.cleanup(dry_run=True)
        manager.rotate(["llama"])
        manager.rotate(every=True)
        manager.validate()
        assert heartbeat(desk) is None

    def test_a_read_only_keystore_keeps_its_mark(self, manager: KeyManager, desk: Desk) -> None:
        place = manager.session.place
        with KeyManager(session=ReadOnly(place, clock=desk.clock, recorder=desk.heard)) as reader:
            assert codes(reader.rotate(due=True)) == set()
        assert heartbeat(desk) is None

    def test_it_stays_in_the_mark_when_an_operation_replaces_it(self, manager: KeyManager, desk: Desk) -> None:
        manager.cleanup()
        desk.clock.forward(days=1)
        manager.generate("another", no_license=True)
        assert heartbeat(desk) == NOON
        desk.close()
        assert manager.clock_reading().heartbeat == NOON

    def test_a_mark_that_is_behind_after_a_kill_is_brought_up_with_it(
        self, manager: KeyManager, desk: Desk, tmp_path: Path
    ) -> None:
        shutil.copy(desk.mark, tmp_path / "mark")
        manager.generate("another", no_license=True)
        shutil.copy(tmp_path / "mark", desk.mark)
        manager.cleanup()
        assert json.loads(desk.mark.read_bytes())["size"] == manager.audit_size()

    def test_a_failure_to_write_it_is_a_warning(self, manager: KeyManager, desk: Desk) -> None:
        assert manager.find("llama").generation == 1  # the keystore is open
        shutil.rmtree(desk.secret.parent)
        assert codes(manager.rotate(due=True)) == {"heartbeat-not-written"}
        assert codes(manager.cleanup()) == {"heartbeat-not-written"}

    def test_a_busy_keystore_is_a_warning(self, manager: KeyManager, desk: Desk) -> None:
        with manager.session.exclusive(), desk.manager(lock_timeout=0) as other:
            assert codes(other.cleanup()) == {"heartbeat-not-written"}
        assert heartbeat(desk) is None


class TestEffectiveTime:
    def test_a_clock_that_goes_back_stays_at_the_heartbeat(self, manager: KeyManager, desk: Desk) -> None:
        desk.clock.forward(days=40)
        manager.cleanup()
        assert manager.find("llama").status is Status.EXPIRED
        desk.clock.forward(days=-40)
        assert manager.now() == NOON + 40 * DAY
        assert manager.find("llama").status is Status.EXPIRED
        key = manager.generate("another", no_license=True).keys[0]
        assert key.created_at == NOON + 40 * DAY

    def test_the_heartbeat_of_another_process_counts_at_once(self, manager: KeyManager, desk: Desk) -> None:
        with desk.manager() as other:
            assert other.now() == NOON
            desk.clock.forward(days=5)
            manager.cleanup()
            desk.clock.forward(days=-5)
            assert other.now() == NOON + 5 * DAY

    def test_daily_runs_keep_a_silent_keystore_from_any_doubt(self, unsynchronised: KeyManager, desk: Desk) -> None:
        unsynchronised.generate("lasting", no_license=True, lifetime=1000 * DAY)
        unsynchronised.revoke(["llama"], reason="one key is enough")
        size = unsynchronised.audit_size()
        for _ in range(20):
            desk.clock.forward(days=29)
            unsynchronised.rotate(due=True)
        assert unsynchronised.audit_size() == size
        unsynchronised.rotate(["lasting"])
        assert [record.event for record in unsynchronised.audit_records()][-1] == "rotate"
        assert "clock-gap" not in [record.event for record in unsynchronised.audit_records()]


class TestDoubtfulClock:
    @scheduled
    def test_an_unsynchronised_silence_refuses_scheduled_runs_until_the_clock_is_accepted(
        self, unsynchronised: KeyManager, desk: Desk, run: Callable[[KeyManager], Any]
    ) -> None:
        desk.clock.forward(days=30, seconds=1)
        size = unsynchronised.audit_size()
        error = error_of(lambda: run(unsynchronised))
        assert isinstance(error, RefusedError)
        assert (error.exit_code, error.remedy) == (5, "confirm-clock")
        (refusal,) = list(unsynchronised.audit_records())[size:]
        assert (refusal.outcome, refusal.time) == ("refused", NOON)  # the doubtful time is not in the log
        assert heartbeat(desk) is None
        unsynchronised.accept_clock()
        run(unsynchronised)
        assert heartbeat(desk) == NOON + 30 * DAY + 1

    def test_the_dry_run_is_refused_like_the_run(self, unsynchronised: KeyManager, desk: Desk) -> None:
        desk.clock.forward(days=31)
        assert isinstance(error_of(lambda: unsynchronised.cleanup(dry_run=True)), RefusedError)
        assert isinstance(error_of(lambda: unsynchronised.rotate(due=True, dry_run=True)), RefusedError)

    def test_every_other_operation_goes_on_and_does_not_make_the_clock_right(
        self, unsynchronised: KeyManager, desk: Desk
    ) -> None:
        desk.clock.forward(days=31)
        unsynchronised.rotate(["llama"])
        unsynchronised.generate("another", no_license=True)
        for run in (lambda: unsynchronised.rotate(due=True), unsynchronised.cleanup):
            error = error_of(run)
            assert isinstance(error, RefusedError)
            assert "has not been confirmed" in error.message
        unsynchronised.accept_clock()
        unsynchronised.cleanup()

    def test_a_synchronised_clock_that_has_passed_the_gap_confirms_it(
        self, unsynchronised: KeyManager, desk: Desk
    ) -> None:
        desk.clock.forward(days=31)
        unsynchronised.rotate(["llama"])
        with desk.manager(synchronised=lambda: True) as synchronised:
            desk.clock.forward(days=-1)
            assert isinstance(error_of(synchronised.cleanup), RefusedError)  # the recorded time was wrong
            desk.clock.forward(days=1)
            synchronised.cleanup()

    @pytest.mark.parametrize("synchronised", [True, None])
    def test_a_silence_that_the_kernel_does_not_doubt_is_recorded_and_not_stored(
        self, manager: KeyManager, desk: Desk, synchronised: bool | None
    ) -> None:
        with desk.manager(synchronised=lambda: synchronised) as later:
            desk.clock.forward(days=31)
            later.rotate(["llama"])
            assert "clock-gap" in [record.event for record in later.audit_records()]
            desk.clock.forward(days=-1)
            later.cleanup()

    @pytest.mark.parametrize(("synchronised", "goes_on"), [(True, True), (None, True), (False, False)])
    def test_the_gap_that_an_earlier_version_stored_counts_like_a_new_one(
        self, manager: KeyManager, desk: Desk, synchronised: bool | None, goes_on: bool
    ) -> None:
        with manager.session.write(new_operation_id()) as transaction:
            gap = {"since": NOON - 40 * DAY, "until": NOON}
            transaction.rows.put(RecordKind.CLOCK_GAP, GAP, gap)
            transaction.record("clock-gap", detail=gap)
        with desk.manager(synchronised=lambda: synchronised) as later:
            assert (error_of(later.cleanup) is None) is goes_on
            later.accept_clock()
            later.cleanup()

    def test_a_leap_refuses_a_cleanup_that_has_nothing_to_do(self, manager: KeyManager, desk: Desk) -> None:
        desk.clock.forward(days=401)
        error = error_of(manager.cleanup)
        assert isinstance(error, RefusedError)
        assert error.remedy == "clock-leapt"
        assert heartbeat(desk) is None

    def test_a_leap_of_200_days_is_refused_beforehand_and_leaves_no_trace(
        self, unsynchronised: KeyManager, desk: Desk
    ) -> None:
        before = unsynchronised.find("llama")
        desk.clock.forward(days=200)
        assert isinstance(error_of(lambda: unsynchronised.rotate(due=True)), RefusedError)
        desk.clock.forward(days=-200)
        assert unsynchronised.find("llama") == before
        assert unsynchronised.now() == NOON


class TestBackToTheRightTime:
    @pytest.fixture
    def ahead(self, manager: KeyManager, desk: Desk, tmp_path: Path) -> KeyManager:
        """The clock was 200 days ahead, which no kernel doubted; everything was rotated; it is right again."""
        manager.cleanup()
        manager.backup(tmp_path / "before")
        desk.clock.forward(days=200)
        assert manager.rotate(due=True).changed
        desk.clock.forward(days=-200)
        return manager

    def test_the_daily_runs_and_validate_say_that_time_stands_still(self, ahead: KeyManager) -> None:
        for result in (ahead.rotate(due=True), ahead.cleanup(), ahead.validate()):
            (notice,) = [notice for notice in result.warnings if notice.code == "clock-behind"]
            assert "200 d behind the newest record" in notice.message
            assert notice.remedy == "clock-behind"

    def test_accepting_the_clock_does_not_go_behind_a_record(self, ahead: KeyManager) -> None:
        ahead.accept_clock()
        assert ahead.now() == NOON + 200 * DAY

    def test_a_restore_goes_back_with_the_heartbeat(self, ahead: KeyManager, desk: Desk, tmp_path: Path) -> None:
        assert heartbeat(desk) == NOON + 200 * DAY
        ahead.restore(tmp_path / "before")
        assert heartbeat(desk) == NOON
        assert ahead.now() == NOON
        assert ahead.find("llama").generation == 1

    def test_a_restore_needs_no_mark_that_can_be_read(self, ahead: KeyManager, desk: Desk, tmp_path: Path) -> None:
        desk.mark.write_bytes(b"{}")
        ahead.restore(tmp_path / "before")
        assert ahead.now() == NOON

    def test_a_restore_keeps_an_older_heartbeat_which_goes_on_ageing(
        self, manager: KeyManager, desk: Desk, tmp_path: Path
    ) -> None:
        manager.cleanup()
        manager.backup(tmp_path / "before")
        desk.clock.forward(days=10)
        manager.restore(tmp_path / "before")
        assert heartbeat(desk) == NOON
        assert "rotation-not-running" in codes(manager.validate())

    def test_a_restore_without_a_heartbeat_makes_none(self, manager: KeyManager, desk: Desk, tmp_path: Path) -> None:
        manager.backup(tmp_path / "before")
        manager.restore(tmp_path / "before")
        assert heartbeat(desk) is None

    def test_where_only_the_heartbeat_is_ahead_accepting_the_clock_sets_it_back(
        self, manager: KeyManager, desk: Desk
    ) -> None:
        desk.clock.forward(days=100)
        assert not manager.cleanup().changed
        desk.clock.forward(days=-99)
        (notice,) = [notice for notice in manager.validate().warnings if notice.code == "clock-behind"]
        assert notice.remedy == "heartbeat-ahead"
        manager.accept_clock()
        assert heartbeat(desk) == manager.now() == NOON + DAY
        assert "clock-behind" not in codes(manager.validate())


class TestRotationNotRunning:
    def test_validate_says_it_after_three_days_until_the_next_run(self, manager: KeyManager, desk: Desk) -> None:
        assert "rotation-not-running" not in codes(manager.validate())
        manager.rotate(due=True)
        desk.clock.forward(days=3)
        assert "rotation-not-running" not in codes(manager.validate())
        desk.clock.forward(seconds=1)
        assert "rotation-not-running" in codes(manager.validate())
        manager.rotate(due=True)
        assert "rotation-not-running" not in codes(manager.validate())

    def test_a_keystore_that_never_had_one_is_not_warned_about(self, manager: KeyManager, desk: Desk) -> None:
        desk.clock.forward(days=300)
        assert "rotation-not-running" not in codes(manager.validate())


@pytest.mark.slow
@pytest.mark.parametrize("synchronised", [True, False, None])
def test_a_90_day_key_with_only_a_daily_timer_for_a_year(desk: Desk, synchronised: bool | None) -> None:
    with desk.manager(synchronised=lambda: synchronised) as manager:
        manager.generate("llama", license_key=LICENSE, lifetime=90 * DAY)
        destroyed: list[str] = []
        for _ in range(365):
            desk.clock.forward(days=1)
            done = manager.rotate(due=True, license_key=LICENSE)
            assert done.failures == ()
            destroyed += [key.key_id for key in manager.cleanup().destroyed]
            newest = manager.find("llama")  # the active key: there is one on each day
            assert newest.status is Status.ACTIVE
            assert newest.expires_at - manager.now() >= 6 * DAY
        chain = manager.chain(newest)
        assert [key.generation for key in chain] == [1, 2, 3, 4, 5]
        assert destroyed == [key.key_id for key in chain[:2]]  # usable for 180 days, marked, destroyed 30 days later
        assert [key.status for key in chain[:2]] == [Status.DESTROYED] * 2
        refused: list[TikTrueKeysError | str] = [
            record.event for record in manager.audit_records() if record.outcome != "ok"
        ]
        assert refused == []
