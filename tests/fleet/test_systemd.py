"""The units: systemd understands them and finds them hardened. What their mounts do: test_unit_mounts.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "tiktrue_keys" / "deploy" / "systemd"
SERVICES = [
    "tiktrue-keys-daily.service",
    "tiktrue-keys-receive.service",
    "tiktrue-keys-metrics.service",
    "tiktrue-keys-cleanup.service",
]
LICENSED = SERVICES[:2]
FAILED = "tiktrue-keys-failed@.service"
TIMERS = ["tiktrue-keys-daily.timer", "tiktrue-keys-metrics.timer", "tiktrue-keys-cleanup.timer"]
EXPOSURE = 2.0

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program and a user that are there, so that only the units themselves can be wrong."""
    for path in UNITS.glob("*.*"):
        if path.suffix in (".service", ".timer"):
            text = re.sub("ExecStart=tiktrue-keys(-daily)?", f"ExecStart={shutil.which('true')}", path.read_text())
            (tmp_path / path.name).write_text(re.sub(r"(User|Group)=tiktrue-keys", r"\1=root", text))
    return tmp_path


@needs_analyze
@pytest.mark.parametrize("name", [*SERVICES, *TIMERS, FAILED])
def test_systemd_understands_it(units: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", units / name], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "tiktrue" in line]
    assert (done.returncode, ours) == (0, [])


@needs_analyze
@pytest.mark.parametrize("name", [*SERVICES, FAILED])
def test_it_is_hardened(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={int(EXPOSURE * 10)}", UNITS / name],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_PAGER": "", "LC_ALL": "C"},
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) < EXPOSURE


def test_no_unit_takes_away_what_binding_needs() -> None:
    for name in SERVICES:
        text = (UNITS / name).read_text()
        directives = re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE)
        names = {directive for directive, _ in directives}
        assert not names & {"PrivateNetwork", "PrivateUsers", "InaccessiblePaths", "ProcSubset", "ProtectClock"}
        # The kernel is asked whether the clock is synchronised; without CAP_SYS_TIME these calls only read.
        assert ("SystemCallFilter", "@system-service adjtimex clock_adjtime") in directives
        assert ("CapabilityBoundingSet", "") in directives
        license_given = ("LoadCredential", "tiktrue-license:/etc/tiktrue-keys/license") in directives
        assert license_given == (name in LICENSED)
        assert ("OnFailure", "tiktrue-keys-failed@%n.service") in directives
        assert dict(directives)["User"] == "tiktrue-keys"


def test_every_service_is_as_hardened_as_the_others() -> None:
    blocks = {(UNITS / name).read_text().partition("# No PrivateNetwork")[2].partition("\n[Install]")[0].rstrip()
              for name in SERVICES}  # fmt: skip
    assert len(blocks) == 1
    assert "ProtectSystem=strict" in blocks.pop()


def test_every_timer_has_its_service_and_is_enabled_by_its_owner_only() -> None:
    assert {path.name for path in UNITS.glob("*.timer")} == set(TIMERS)
    for name in TIMERS:
        assert (UNITS / name).with_suffix(".service").exists()
        assert "WantedBy=timers.target" in (UNITS / name).read_text()
    assert "enable" not in (UNITS.parents[2] / "Makefile").read_text()


@pytest.mark.parametrize(
    ("rotated", "kept", "code"),
    [(0, 0, 0), (7, 0, 7), (0, 12, 12), (7, 5, 5), (7, 4, 4), (12, 8, 8), (1, 0, 1), (0, 143, 143), (7, 1, 7)],
)
def test_the_daily_script_runs_both_and_ends_in_the_worse_code(
    tmp_path: Path, rotated: int, kept: int, code: int
) -> None:
    program = tmp_path / "tiktrue-keys"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/log\ncase $1 in rotate) exit {rotated};; *) exit {kept};; esac\n'
    )
    program.chmod(0o755)

    done = subprocess.run(
        [UNITS / "tiktrue-keys-daily", "/a b/backups", "/a b/heads"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == code
    assert (tmp_path / "log").read_text().splitlines() == [
        "rotate --due --quiet --backup-to /a b/backups",
        "audit checkpoint --quiet --to /a b/heads",
    ]


def test_cron_finds_the_program_and_runs_the_same_script() -> None:
    lines = (UNITS / "tiktrue-keys.cron").read_text().splitlines()
    job = lines[-1].split()

    assert "PATH=/usr/local/bin:/usr/bin:/bin" in lines
    assert job[5] == "tiktrue-keys"
    assert f"ExecStart={' '.join(job[6:])}" in (UNITS / "tiktrue-keys-daily.service").read_text().splitlines()
