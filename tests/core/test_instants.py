"""Instants and durations as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.instants import DAY, duration_text, parse_duration, parse_instant, rfc3339
from tiktrue_keys.errors import UsageError

LATEST = 253_402_300_799


@given(st.integers(0, LATEST))
def test_an_instant_survives_rfc_3339(instant: int) -> None:
    text = rfc3339(instant)
    assert text is not None
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_608_000, "2026-11-25T12:00:00Z"),
        (LATEST, "9999-12-31T23:59:59Z"),
        (LATEST + 1, "9999-12-31T23:59:59Z"),
        (2**63, "9999-12-31T23:59:59Z"),
        (-1, "1970-01-01T00:00:00Z"),
        (None, None),
    ],
)
def test_what_rfc_3339_cannot_spell_is_cut_to_its_ends(instant: int | None, text: str | None) -> None:
    assert rfc3339(instant) == text


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-25", 1_795_564_800),
        ("2026-11-25T12:00:00Z", 1_795_608_000),
        ("2026-11-25T12:00:00z", 1_795_608_000),
        ("2026-11-25T14:00:00+02:00", 1_795_608_000),
        ("2026-11-25T12:00:00.9Z", 1_795_608_000),
    ],
)
def test_an_instant(text: str, instant: int) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-02-30", "2026-11-25T25:00:00Z", "1e9", "Z", "\0"]
)
def test_no_instant(text: str) -> None:
    with pytest.raises(UsageError):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("12h", 43_200),
        ("90d", 90 * DAY),
        ("2w", 14 * DAY),
        ("P2W", 14 * DAY),
        ("P30D", 30 * DAY),
        ("PT12H", 43_200),
        ("P1DT1H1M1S", DAY + 3_661),
        ("PT90M", 5_400),
    ],
)
def test_a_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "-1d", "1.5d", "1 d", "1d\n", "1y", "P", "PT", "P1DT", "P1W2D", "1000000000s", "\u0661d", "p1d"],
)
def test_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.integers(0, 999_999_999))
def test_the_spelling_of_a_duration_is_exact(seconds: int) -> None:
    assert parse_duration(duration_text(seconds)) == seconds
