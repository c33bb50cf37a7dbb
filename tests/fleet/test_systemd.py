"""The units: systemd understands them and finds them hardened. What their mounts do: test_unit_mounts.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "tiktrue_keys" / "deploy" / "systemd"
SERVICES = ["tiktrue-keys-rotate.service", "tiktrue-keys-receive.service"]
EXPOSURE = 2.0

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program and a user that are there, so that only the units themselves can be wrong."""
    for path in UNITS.glob("*.*"):
        if path.suffix in (".service", ".timer"):
            text = path.read_text().replace("ExecStart=tiktrue-keys", f"ExecStart={shutil.which('true')}")
            (tmp_path / path.name).write_text(re.sub(r"(User|Group)=tiktrue-keys", r"\1=root", text))
    return tmp_path


@needs_analyze
@pytest.mark.parametrize("name", [*SERVICES, "tiktrue-keys-rotate.timer"])
def test_systemd_understands_it(units: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", units / name], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "tiktrue" in line]
    assert (done.returncode, ours) == (0, [])


@needs_analyze
@pytest.mark.parametrize("name", SERVICES)
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
        assert ("LoadCredential", "tiktrue-license:/etc/tiktrue-keys/license") in directives
        assert dict(directives)["User"] == "tiktrue-keys"
