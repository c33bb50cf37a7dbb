"""Starting the program, or importing the library, loads nothing that only some commands need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.project.ladder import HEAVY

LATE = HEAVY | {"asyncio", "tiktrue_keys.core.manager"}


@pytest.mark.parametrize("module", ["tiktrue_keys", "tiktrue_keys.cli.program.main"])
def test_an_import_at_start_up_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({LATE!r} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
