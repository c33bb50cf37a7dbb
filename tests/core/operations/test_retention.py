"""Which backups are kept: one a day, then one a week, the same whatever the hour of the run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.operations.retention import WEEKS, kept, must_be_days
from tiktrue_keys.errors import UsageError

MONDAY = 20_000 // 7 * 7 + 4  # a Monday, in days since 1970-01-01
NOW = Instant((MONDAY + 2) * DAY + 3 * 3_600)  # a Wednesday


def at(day: int, hour: int = 2) -> Instant:
    """An instant so many days before the day of NOW."""
    return Instant((MONDAY + 2 - day) * DAY + hour * 3_600)


def test_of_one_day_the_newest_is_kept() -> None:
    assert kept([at(0, 1), at(0, 2), at(1, 1), at(1, 9)], NOW, keep=7) == {at(0, 2), at(1, 9)}


def test_of_an_older_week_the_newest_is_kept() -> None:
    # Three days: Monday to Wednesday. Before them the weeks from Monday to Sunday.
    assert kept([at(3), at(4), at(9), at(10), at(11)], NOW, keep=3) == {at(3), at(10)}


def test_after_five_weeks_they_go() -> None:
    weekly = [at(3 + 7 * week) for week in range(9)]

    assert kept(weekly, NOW, keep=3) == set(weekly[:WEEKS])


def test_the_only_one_is_kept_however_old() -> None:
    assert kept([at(400), at(500)], NOW, keep=7) == {at(400)}


def test_none_are_none() -> None:
    assert kept([], NOW, keep=7) == frozenset()


@given(st.integers(1, 20), st.integers(1, 200))
def test_a_daily_job_always_holds_every_week_of_the_last_five(keep: int, days: int) -> None:
    held: set[Instant] = set()
    for day in range(days):
        now = Instant((MONDAY + day) * DAY)
        held = set(kept({*held, now}, now, keep))

    today = MONDAY + days - 1
    assert {instant // DAY for instant in held} >= set(range(max(MONDAY, today - keep + 1), today + 1))
    assert len(held) <= keep + WEEKS + 1
    weeks = {(instant // DAY - 4) // 7 for instant in held}
    first = max(MONDAY, today - keep + 1 - 7 * WEEKS)
    assert weeks >= set(range((first - 4) // 7, (today - 4) // 7 + 1))


@pytest.mark.parametrize("keep", [0, -1, 3_661])
def test_days_out_of_bounds(keep: int) -> None:
    with pytest.raises(UsageError, match="1 to 3660 days"):
        must_be_days(keep)
