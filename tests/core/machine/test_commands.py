"""Running a reporting command: what it says, and every way in which it does not."""

from __future__ import annotations

import sys

import pytest

from tiktrue_keys.core.machine.commands import output_of


def test_what_a_command_prints_is_returned() -> None:
    assert output_of([sys.executable, "-c", "print('said')"]).strip() == b"said"


@pytest.mark.parametrize(
    "argv",
    [
        ["/nonexistent/command"],
        [sys.executable, "-c", "print('said'); raise SystemExit(1)"],
        [sys.executable, "-c", "print('x' * (4 * 1024 * 1024))"],
    ],
    ids=["missing", "failing", "too much"],
)
def test_a_command_that_fails_says_nothing(argv: list[str]) -> None:
    assert output_of(argv) == b""
