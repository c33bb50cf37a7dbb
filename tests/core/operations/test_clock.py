"""Time as the keystore takes it: the clock, but never before its newest record, and not much after it either.

The rules themselves are tested in tests/core/keystore/test_clock.py, the heartbeat in test_heartbeat.py.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.keystores import LICENSE, NOON, Desk, desk_in_memory, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import ExpiredError, RefusedError, RevokedError

ORDER = [Status.ACTIVE, Status.ROTATING, Status.DEPRECATED, Status.EXPIRED, Status.REVOKED, Status.DESTROYED]


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    return made


def test_the_clock_counts_while_it_goes_forward(manager: KeyManager, desk: Desk) -> None:
    assert manager.now() == NOON
    desk.clock.forward(days=1)
    assert manager.now() == NOON + DAY


def test_ten_years_back_revive_nothing(manager: KeyManager, desk: Desk) -> None:
    first = manager.find("llama").key_id
    manager.generate("short", no_license=True, lifetime=DAY)
    manager.generate("lost", no_license=True)
    manager.revoke(["lost"], reason="lost")
    desk.clock.forward(days=2)
    manager.rotate(["llama"], license_key=LICENSE, overlap=0)
    before = {key.key_id: key.status for key in list(manager.keys())}
    assert set(before.values()) == {Status.DEPRECATED, Status.ACTIVE, Status.EXPIRED, Status.REVOKED}
    desk.clock.forward(days=-3650)
    assert {key.key_id: key.status for key in list(manager.keys())} == before
    assert isinstance(error_of(lambda: manager.open_key("short", None, use=Use.ENCRYPT)), ExpiredError)
    assert isinstance(error_of(lambda: manager.open_key("lost", None, use=Use.DECRYPT)), RevokedError)
    assert manager.find(first).status is Status.DEPRECATED


def test_what_is_written_with_a_clock_gone_back_bears_the_newest_time(manager: KeyManager, desk: Desk) -> None:
    desk.clock.forward(days=10)
    manager.generate("second", license_key=LICENSE)
    desk.clock.forward(days=-10)
    key = manager.generate("third", license_key=LICENSE).keys[0]
    assert key.created_at == NOON + 10 * DAY
    times = [record.time for record in list(manager.audit_records())]
    assert times == sorted(times)
    assert manager.audit_verify() == 5


@pytest.mark.parametrize(("seconds", "writes"), [(400 * DAY, True), (400 * DAY + 1, False), (3650 * DAY, False)])
def test_a_leap_of_more_than_400_days_writes_nothing_until_it_is_accepted(
    manager: KeyManager, desk: Desk, seconds: int, writes: bool
) -> None:
    desk.clock.forward(seconds=seconds)
    size = manager.audit_size()
    for operation in (
        lambda: manager.generate("second", license_key=LICENSE),
        lambda: manager.rotate(["llama"], license_key=LICENSE),
        lambda: manager.revoke(["llama"], reason="x"),
    ):
        error = error_of(operation)
        if writes:
            assert error is None
            return
        assert isinstance(error, RefusedError)
        assert "400 days" in error.message
        assert error.remedy == "clock-leapt"
    refusals = list(manager.audit_records())[size:]
    assert [(record.event, record.outcome, record.time) for record in refusals] == [
        (event, "refused", NOON) for event in ("generate", "rotate", "revoke")
    ]
    assert manager.find("llama").status is Status.EXPIRED  # read with the clock as it is, which is not stored
    manager.accept_clock()
    manager.rotate(["llama"], license_key=LICENSE)
    after = [record.event for record in list(manager.audit_records())[size + 3 :]]
    assert after == ["clock-gap", "accept-clock", "rotate"]


def test_ten_years_ahead_and_right_again_leaves_everything_as_it_was(manager: KeyManager, desk: Desk) -> None:
    before = manager.find("llama")
    desk.clock.forward(days=3650)
    assert isinstance(error_of(lambda: manager.rotate(due=True, license_key=LICENSE)), RefusedError)
    assert isinstance(error_of(lambda: manager.cleanup(dry_run=True)), RefusedError)
    desk.clock.forward(days=-3650)
    assert manager.find("llama") == before
    assert manager.rotate(["llama"], license_key=LICENSE).changed


def test_a_long_silence_is_noted_once(manager: KeyManager, desk: Desk) -> None:
    desk.clock.forward(days=31)
    manager.generate("second", license_key=LICENSE)
    manager.generate("third", license_key=LICENSE)
    records = [record for record in list(manager.audit_records()) if record.event == "clock-gap"]
    assert [record.detail for record in records] == [{"since": NOON, "until": NOON + 31 * DAY}]


def test_accepting_a_clock_that_nobody_doubts_is_recorded_and_harmless(manager: KeyManager) -> None:
    manager.accept_clock()
    assert manager.rotate(["llama"], license_key=LICENSE).changed


def test_seconds_are_whole_whatever_the_clock_says(desk: Desk) -> None:
    with desk.manager(clock=lambda: NOON + 0.999) as manager:
        assert manager.generate("llama", license_key=LICENSE).keys[0].created_at == NOON


STEPS = st.lists(st.integers(-200, 200), min_size=1, max_size=6)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_however_the_clock_moves_no_status_goes_back(steps: list[int]) -> None:
    with desk_in_memory() as desk:
        manager = desk.manager()
        manager.generate("llama", no_license=True)
        manager.generate("lost", no_license=True)
        manager.rotate(["llama"])
        manager.revoke(["lost"], reason="lost")
        watched = [key.key_id for key in list(manager.keys())]
        before = [ORDER.index(manager.find(key).status) for key in watched]
        for number, days in enumerate(steps):
            desk.clock.forward(days=days)
            manager.generate(f"tick-{number}", no_license=True)  # what is recorded is what time is held to
            now = [ORDER.index(manager.find(key).status) for key in watched]
            assert all(earlier <= later for earlier, later in zip(before, now, strict=True))
            before = now
