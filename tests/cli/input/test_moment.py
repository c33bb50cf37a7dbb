"""Points in time as people type them, in the zone that TZ sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tiktrue_keys.cli.input.moment import parse_moment
from tiktrue_keys.core.instants import Instant, parse_instant, rfc3339
from tiktrue_keys.errors import UsageError

NOW = parse_instant("2026-11-30T23:30:00Z")
SetZone = Callable[[str], None]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    def use(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "berlin", "utc"),
    [
        ("now", "2026-11-30T23:30:00Z", "2026-11-30T23:30:00Z"),
        ("1h", "2026-11-30T22:30:00Z", "2026-11-30T22:30:00Z"),
        ("90m ago", "2026-11-30T22:00:00Z", "2026-11-30T22:00:00Z"),
        ("P1D", "2026-11-29T23:30:00Z", "2026-11-29T23:30:00Z"),
        ("today", "2026-11-30T23:00:00Z", "2026-11-30T00:00:00Z"),  # it is December there already
        ("yesterday", "2026-11-29T23:00:00Z", "2026-11-29T00:00:00Z"),
        ("2026-11-30", "2026-11-29T23:00:00Z", "2026-11-30T00:00:00Z"),
        ("2026-07-01", "2026-06-30T22:00:00Z", "2026-07-01T00:00:00Z"),
        ("2026-11-30 07:00", "2026-11-30T06:00:00Z", "2026-11-30T07:00:00Z"),
        ("2026-11-30T07:00:00Z", "2026-11-30T07:00:00Z", "2026-11-30T07:00:00Z"),
        ("2026-11-30T07:00:00-05:00", "2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z"),
    ],
)
def test_what_is_typed(text: str, berlin: str, utc: str, zone: SetZone) -> None:
    for name, expected in (("CET-1CEST,M3.5.0,M10.5.0/3", berlin), ("UTC", utc)):
        zone(name)
        assert rfc3339(parse_moment(text, NOW).instant) == expected


def test_only_local_time_is_stated(zone: SetZone) -> None:
    zone("CET-1CEST,M3.5.0,M10.5.0/3")
    words = "--since is 2026-07-01T00:00:00+02:00 in local time (CEST), 2026-06-30T22:00:00Z."
    assert parse_moment("2026-07-01", NOW).stated("--since") == words
    assert parse_moment("1h", NOW).stated("--since") == ""
    assert parse_moment("2026-07-01T00:00:00Z", NOW).stated("--since") == ""
    zone("UTC")
    assert parse_moment("2026-07-01", NOW).stated("--since") == ""


@pytest.mark.parametrize("text", ["", "soon", "1", "-1h", "2026-13-01", "2026-11-31", "yesterdays", "0001-01-01T00:00"])
def test_anything_else_is_a_usage_error(text: str, zone: SetZone) -> None:
    zone("CET-1CEST,M3.5.0,M10.5.0/3")
    with pytest.raises(UsageError, match="is not a point in time"):
        parse_moment(text, Instant(NOW))
