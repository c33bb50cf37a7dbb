"""The campaign's own parts; `make campaign` itself takes hours and is run by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.campaign.run import Outcome, Row, busy_loops, clock_ahead, counted, missing, run, shown
from tests.faked_clock import of_the_clock
from tests.waiting import wait_until

TOLD = "import time; began = time.monotonic(); time.sleep(0.01); print(time.time(), time.monotonic() - began)"


def test_the_counts_of_every_summary_are_added_up() -> None:
    text = (
        "12 passed in the first round\n"
        "== 1 failed, 2000 passed, 3 skipped, 2 errors in 400.12s (0:06:40) ==\n"
        "+ pytest --durations=15 tests/faults\n"
        "40 passed, 1 warning in 70.00s\n"
    )
    assert counted(text) == {"passed": 2040, "failed": 3, "skipped": 3}


@pytest.mark.parametrize(("status", "verdict"), [(0, "ok"), (1, "failed")])
def test_a_row_is_what_its_command_ends_in(tmp_path: Path, status: int, verdict: str) -> None:
    script = f"echo '== 5 passed, 1 failed in 1.00s =='; exit {status}"
    outcome = run(Row("a-row", ["sh", "-c", script]), tmp_path / "log")
    assert (outcome.verdict, outcome.counts) == (verdict, {"passed": 5, "failed": 1})
    assert shown(Row("a-row"), outcome).split()[:5] == ["a-row", verdict, "5", "1", "0"]


def test_what_cannot_run_says_why() -> None:
    assert shown(Row("week"), Outcome("skipped", note="needs a clock")).endswith("  needs a clock")


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.skipif(bool(of_the_clock()), reason="the clock is ahead already")
def test_the_clock_is_ahead_and_what_takes_time_takes_as_long() -> None:
    with clock_ahead("+7d") as clock:
        assert of_the_clock(clock) == clock
        done = subprocess.run(
            [sys.executable, "-c", TOLD], env=os.environ | clock, capture_output=True, text=True, check=True
        )
    then, slept = map(float, done.stdout.split())
    ahead = datetime.fromtimestamp(then, UTC) - datetime.now(UTC)
    assert timedelta(days=6) < ahead < timedelta(days=8)
    assert slept >= 0.01


def test_busy_loops_end_with_their_block() -> None:
    def loops() -> list[str]:
        return [entry for entry in os.listdir("/proc") if entry.isdigit() and is_ours(Path("/proc") / entry)]

    def is_ours(process: Path) -> bool:
        try:
            return (
                b"while True: pass" in (process / "cmdline").read_bytes()
                and f"PPid:\t{os.getpid()}\n" in (process / "status").read_text()
            )
        except OSError:
            return False

    with busy_loops():
        wait_until(lambda: len(loops()) == os.cpu_count())
    assert loops() == []
