"""Programs of operations over time: random ones against a plain model, a year of cron, clocks that are wrong."""

from __future__ import annotations

import pytest

from tests.faults.running import results

pytestmark = pytest.mark.slow


def test_random_programs_agree_with_a_plain_model() -> None:
    result, _ = results("states --count 12", "states --seed 1 --count 100 --control clock-believed")
    assert result["figures"]["acts"]["RotateResult"] > 0


def test_a_year_of_cron_rotates_every_key_in_time() -> None:
    result, _ = results("cron --count 365", "cron --count 365 --control nothing-due")
    assert result["figures"]["told beside a damaged row"]["failed integrity"] >= 40  # every run since that key was due


def test_a_wrong_clock_revives_nothing_and_destroys_nothing() -> None:
    result, _ = results("clock", "clock --control no-newer-record")
    assert result["cases"] == 4
