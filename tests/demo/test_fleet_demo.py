"""`make fleet-demo` in one piece: every command ends as expected, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.etcd_server import is_installed
from tests.program import unmeasured


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="etcd is not installed (Debian: etcd-server)")
def test_the_demo_of_a_fleet_runs_and_cleans_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo.fleet"],
        cwd=Path(__file__).parents[2],
        env={**unmeasured(), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("fleet-demo: done, every command ended as expected\n")
    assert list(tmp_path.iterdir()) == []
