"""A clock that is wrong, by the command line: what is refused, what doctor shows, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faked_kernel import ahead, kernel_library, needs_compiler, needs_faketime
from tests.program import Program

pytestmark = [needs_compiler, needs_faketime]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    says = {"synchronised": ("TIME_OK", "STA_PLL"), "unsynchronised": ("TIME_ERROR", "STA_UNSYNC")}
    return {name: kernel_library(tmp_path_factory.mktemp(name), *words) for name, words in says.items()}


def at(program: Program, days: float, kernel: Path) -> Program:
    """The same keystore, with a clock so far ahead."""
    other = Program(program.folder)
    other.variables |= ahead(days, kernel=kernel)
    return other


def row(program: Program, check: str) -> tuple[str, str]:
    checks = program.json("doctor")["result"]["checks"]
    (found,) = [each for each in checks if each["check"] == check]
    return found["state"], found["detail"]


def test_an_unsynchronised_silence_stops_the_timers_until_the_clock_is_confirmed(
    program: Program, kernels: dict[str, Path]
) -> None:
    program.generate("m", lifetime=300 * 86_400)
    later = at(program, 31, kernels["unsynchronised"])
    for words in (["rotate", "--due"], ["cleanup", "--yes"], ["cleanup", "--dry-run"]):
        done = later.run(*words)
        assert done.returncode == 5, done
        assert "31 d after the newest record or heartbeat" in done.stderr
        assert "the kernel calls the clock unsynchronised" in done.stderr
        assert "hint: check the clock, then run tiktrue-keys doctor --accept-clock" in done.stderr
    state, detail = row(later, "clock")
    assert state == "warning"
    assert "rotate --due and cleanup are refused" in detail
    assert "doctor --accept-clock" in detail
    later.ok("doctor", "--accept-clock", "--yes")
    later.ok("rotate", "--due")
    later.ok("cleanup", "--yes")
    assert row(later, "clock")[0] == row(later, "scheduled runs")[0] == "ok"


def test_under_a_doubtful_clock_a_due_rotation_does_not_sync_the_fleet_first(
    program: Program, kernels: dict[str, Path]
) -> None:
    program.generate("m", lifetime=300 * 86_400)
    program.generate("lost")
    program.ok("fleet", "init", "head-office")
    place, card = program.folder / "node", program.folder / "node.card"
    place.mkdir()
    node_id = Program(place).json("fleet", "init", "node", "--role", "node")["result"]["node_id"]
    Program(place).ok("fleet", "card", "-o", str(card))
    program.ok("fleet", "add", str(card), "--expect", node_id)
    program.ok("revoke", "--model", "lost", "--reason", "a test", "--yes")  # a list, which a sync renews after 15 days
    size = len(program.json("audit", "show")["result"]["records"])
    spool = program.folder / "spool"
    spool.mkdir()
    due = ("rotate", "--due", "--via", f"spool:{spool}")
    assert at(program, 31, kernels["unsynchronised"]).run(*due).returncode == 5
    records = program.json("audit", "show")["result"]["records"][size:]
    assert [(record["event"], record["outcome"]) for record in records] == [("rotate", "refused")]
    at(program, 31, kernels["synchronised"]).ok(*due)
    records = program.json("audit", "show")["result"]["records"][size + 1 :]
    assert "renew-revocation-list" in {record["event"] for record in records}


def test_a_synchronised_silence_stops_nothing(program: Program, kernels: dict[str, Path]) -> None:
    program.generate("m", lifetime=300 * 86_400)
    later = at(program, 399, kernels["synchronised"])
    later.ok("cleanup", "--yes")
    state, detail = row(later, "clock")
    assert (state, detail.rpartition("; ")[2]) == ("ok", "the kernel calls it synchronised")


def test_where_every_write_is_refused_doctor_says_so(program: Program, kernels: dict[str, Path]) -> None:
    program.generate("m")
    later = at(program, 3650, kernels["synchronised"])
    assert later.run("cleanup", "--yes").returncode == 5
    state, detail = row(later, "clock")
    assert state == "warning"
    assert "nothing is written" in detail
    assert "cleanup" not in detail


def test_a_clock_set_back_is_told_with_the_way_back(program: Program, kernels: dict[str, Path]) -> None:
    program.generate("m")
    at(program, 200.2, kernels["synchronised"]).ok("rotate", "m")
    state, detail = row(program, "clock")
    assert state == "warning"
    assert "the system clock is 200 d behind the newest record; using that record's time" in detail
    assert "if it is right, wait, or go back to a backup: tiktrue-keys restore FILE" in detail
    assert "200 d behind the newest record" in program.run("doctor", "--accept-clock", "--yes").stderr
    assert "200 d behind the newest record" in program.run("rotate", "--due").stderr


def test_only_the_heartbeat_ahead_is_set_back_by_confirming_the_clock(
    program: Program, kernels: dict[str, Path]
) -> None:
    program.generate("m", lifetime=300 * 86_400)
    at(program, 20.2, kernels["synchronised"]).ok("cleanup", "--yes")
    assert "confirm it: tiktrue-keys doctor --accept-clock" in row(program, "clock")[1]
    program.ok("doctor", "--accept-clock", "--yes")
    assert row(program, "clock")[0] == "ok"


def test_scheduled_runs_have_a_row(program: Program, kernels: dict[str, Path]) -> None:
    program.generate("m", lifetime=300 * 86_400)
    assert row(program, "scheduled runs") == ("ok", "none yet: no heartbeat has been written")
    program.ok("rotate", "--due")
    assert row(program, "scheduled runs")[0] == "ok"
    state, detail = row(at(program, 4.1, kernels["synchronised"]), "scheduled runs")
    assert state == "warning"
    assert "no scheduled run for 4 d" in detail
    assert "systemctl list-timers" in detail


@pytest.mark.slow
def test_a_90_day_key_with_only_a_weekly_timer_for_a_year(program: Program, kernels: dict[str, Path]) -> None:
    program.generate("m", lifetime=90 * 86_400)
    for week in range(1, 53):
        later = at(program, 7 * week, kernels["unsynchronised"])
        later.ok("rotate", "--due", "--quiet")
        later.ok("cleanup", "--yes", "--quiet")
    keys = later.json("list", "--all")["result"]["keys"]
    statuses = [key["status"] for key in sorted(keys, key=lambda key: key["generation"])]
    assert statuses == ["destroyed", "destroyed", "deprecated", "deprecated", "active"]
    refusals = later.json("audit", "show", "--outcome", "refused")["result"]["records"]
    assert refusals == []
