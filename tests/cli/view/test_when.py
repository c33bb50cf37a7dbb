"""Instants as people read them."""

from __future__ import annotations

import pytest

from tiktrue_keys.cli.view.when import relative

NOW = 1_800_000_000
MINUTE, HOUR, DAY = 60, 3_600, 86_400


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (0, "now"),
        (1, "in 1 s"),
        (2 * MINUTE - 1, "in 119 s"),
        (2 * MINUTE, "in 2 min"),
        (2 * HOUR - 1, "in 119 min"),
        (2 * HOUR, "in 2 h"),
        (2 * DAY - 1, "in 47 h"),
        (2 * DAY, "in 2 d"),
        (30 * DAY - 1, "in 29 d"),
        (-1, "1 s ago"),
        (-2 * HOUR, "2 h ago"),
        (-400 * DAY, "400 d ago"),
    ],
)
def test_the_largest_unit_of_which_there_are_two(distance: int, words: str) -> None:
    assert relative(NOW + distance, NOW) == words
