"""The rules about time, each at its edge: pure functions over a reading of the clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.keystores import NOON, error_of
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.keystore import clock
from tiktrue_keys.core.keystore.clock import ClockFault, ClockReading, Gap
from tiktrue_keys.errors import RefusedError

GAP = Gap(Instant(NOON - 100 * DAY), Instant(NOON - DAY))


def reading(
    ahead: int = 0, *, heartbeat: int | None = None, synchronised: bool | None = True, gap: Gap | None = None
) -> ClockReading:
    """The newest record is of NOON; the clock is `ahead` of it, the heartbeat too."""
    beat = None if heartbeat is None else Instant(NOON + heartbeat)
    return ClockReading(Instant(NOON + ahead), NOON, beat, synchronised, gap)


def code(fault: ClockFault | None) -> str | None:
    return None if fault is None else fault.code


@pytest.mark.parametrize(
    ("ahead", "heartbeat", "effective"),
    [(5, None, 5), (-5, None, 0), (5, 3, 5), (5, 9, 9), (-5, 9, 9), (-5, -3, 0), (5, -3, 5)],
)
def test_effective_time_is_the_latest_of_clock_record_and_heartbeat(
    ahead: int, heartbeat: int | None, effective: int
) -> None:
    assert reading(ahead, heartbeat=heartbeat).effective == NOON + effective


@pytest.mark.parametrize("synchronised", [True, False, None])
@pytest.mark.parametrize(("heartbeat", "from_where"), [(None, 0), (-DAY, 0), (20 * DAY, 20 * DAY)])
def test_400_days_past_record_and_heartbeat_nothing_is_written(
    synchronised: bool | None, heartbeat: int | None, from_where: int
) -> None:
    last = reading(from_where + 400 * DAY, heartbeat=heartbeat, synchronised=synchronised)
    assert clock.leap(last) is None
    assert clock.must_not_leap(last) == last.now
    past = replace(last, now=Instant(last.now + 1))
    assert code(clock.leap(past)) == "clock-leapt"
    error = error_of(lambda: clock.must_not_leap(past))
    assert isinstance(error, RefusedError)
    assert "400 days" in error.message
    assert error.remedy == "clock-leapt"


@pytest.mark.parametrize(
    ("ahead", "heartbeat", "synchronised", "doubted"),
    [
        (30 * DAY, None, False, False),
        (30 * DAY + 1, None, False, True),
        (30 * DAY + 1, None, True, False),
        (30 * DAY + 1, None, None, False),  # unknown counts as synchronised
        (400 * DAY, None, True, False),
        (31 * DAY, 2 * DAY, False, False),
        (32 * DAY + 1, 2 * DAY, False, True),
        (-300 * DAY, None, False, False),
    ],
)
def test_30_days_of_silence_are_doubted_only_where_the_kernel_calls_the_clock_unsynchronised(
    ahead: int, heartbeat: int | None, synchronised: bool | None, doubted: bool
) -> None:
    found = reading(ahead, heartbeat=heartbeat, synchronised=synchronised)
    assert code(clock.doubt(found)) == ("clock-unconfirmed" if doubted else None)
    error = error_of(lambda: clock.must_be_trusted(found))
    assert (error is None) is not doubted
    if error is not None:
        assert isinstance(error, RefusedError)
        assert error.remedy == "confirm-clock"
        assert "unsynchronised" in error.message


@pytest.mark.parametrize("synchronised", [True, False, None])
def test_a_leap_is_doubted_whatever_the_kernel_says(synchronised: bool | None) -> None:
    assert code(clock.doubt(reading(401 * DAY, synchronised=synchronised))) == "clock-leapt"


@pytest.mark.parametrize(
    ("ahead", "synchronised", "doubted"),
    [
        (0, True, False),
        (0, None, False),
        (0, False, True),
        (-DAY, True, False),  # as late as the end of the gap
        (-DAY - 1, True, True),
        (-DAY - 1, None, True),
    ],
)
def test_a_stored_gap_counts_until_a_synchronised_clock_has_passed_it(
    ahead: int, synchronised: bool | None, doubted: bool
) -> None:
    found = reading(ahead, synchronised=synchronised, gap=GAP)
    assert code(clock.doubt(found)) == ("clock-unconfirmed" if doubted else None)


@pytest.mark.parametrize(
    ("ahead", "heartbeat", "source", "remedy"),
    [
        (0, None, "", ""),
        (-59, None, "", ""),
        (-60, None, "1 min behind the newest record", "clock-behind"),
        (-200 * DAY, None, "200 d behind the newest record", "clock-behind"),
        (-200 * DAY, 0, "200 d behind the newest record", "clock-behind"),
        (-200 * DAY, DAY, "201 d behind the newest heartbeat", "heartbeat-ahead"),
        (5 * DAY, 7 * DAY, "2 d behind the newest heartbeat", "heartbeat-ahead"),
    ],
)
def test_a_clock_behind_says_how_far_and_whose_time_counts(
    ahead: int, heartbeat: int | None, source: str, remedy: str
) -> None:
    fault = clock.lag(reading(ahead, heartbeat=heartbeat))
    if not source:
        assert fault is None
        return
    assert fault is not None
    assert (fault.code, fault.remedy, fault.since) == ("clock-behind", remedy, NOON + ahead)
    assert f"the system clock is {source}; using that {source.split()[-1]}'s time, 20" in fault.message


@pytest.mark.parametrize(
    ("ahead", "heartbeat", "late"),
    [
        (3 * DAY, 0, False),
        (3 * DAY + 1, 0, True),
        (90 * DAY, None, False),  # there never was one
        (-DAY, -2 * DAY, False),
        (-DAY, -3 * DAY - 1, True),  # by effective time: a clock that goes back hides nothing
    ],
)
def test_three_days_without_a_heartbeat_are_told_where_there_was_one(
    ahead: int, heartbeat: int | None, late: bool
) -> None:
    fault = clock.late_heartbeat(reading(ahead, heartbeat=heartbeat))
    assert code(fault) == ("rotation-not-running" if late else None)
    if fault is not None and heartbeat is not None:
        assert "no scheduled run for 3 d" in fault.message
        assert fault.since == NOON + heartbeat


@pytest.mark.parametrize(
    ("ahead", "heartbeat", "due"),
    [
        (0, None, True),
        (11 * 3600 + 3599, 0, False),  # 23:59:59 of the same day
        (12 * 3600, 0, True),
        (-40 * DAY, 0, False),
    ],
)
def test_the_heartbeat_is_due_once_a_day(ahead: int, heartbeat: int | None, due: bool) -> None:
    assert clock.is_heartbeat_due(reading(ahead, heartbeat=heartbeat)) is due


@pytest.mark.parametrize(
    "doubtful",
    [reading(31 * DAY, synchronised=False), reading(401 * DAY), reading(DAY, synchronised=False, gap=GAP)],
)
def test_a_doubtful_clock_renews_no_heartbeat_and_notes_no_time_of_its_own(doubtful: ClockReading) -> None:
    assert not clock.is_heartbeat_due(doubtful)
    assert clock.noted_time(doubtful) == NOON


def test_a_clock_that_is_not_doubted_notes_its_time() -> None:
    assert clock.noted_time(reading(31 * DAY)) == NOON + 31 * DAY
    assert clock.noted_time(reading(-31 * DAY)) == NOON


def test_an_accepted_clock_counts_over_the_heartbeat_and_not_over_the_newest_record() -> None:
    assert clock.accepted_time(reading(5, heartbeat=200 * DAY)) == NOON + 5
    assert clock.accepted_time(reading(-5, heartbeat=200 * DAY)) == NOON
    assert clock.accepted_time(reading(500 * DAY)) == NOON + 500 * DAY


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (86_399, "23 h"), (86_400, "1 d")]
)
def test_a_span_is_told_in_its_largest_whole_unit(seconds: int, words: str) -> None:
    assert clock.span(seconds) == words
