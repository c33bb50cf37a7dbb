"""Runs campaigns as the commands that they are, several at once, and gives their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import SKIPPED

_REPOSITORY = Path(__file__).resolve().parents[2]
_TIMEOUT_SECONDS = 600


def results(*commands: str) -> list[dict[str, Any]]:
    """The result of each command line (a campaign and its options), run at once; skips where one of them skips."""
    running = [started(command.split()) for command in commands]
    # All of them end before the first is judged: a skip or a failure must not leave the others running.
    said = [process.communicate(timeout=_TIMEOUT_SECONDS) for process in running]
    return [
        _judged(process.returncode, output, errors, command)
        for process, (output, errors), command in zip(running, said, commands, strict=True)
    ]


def started(words: Sequence[str]) -> subprocess.Popen[str]:
    """A campaign that begins."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.faults.{words[0]}", *words[1:]],
        cwd=_REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith(("TIKTRUE_", "COVERAGE_"))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _judged(code: int, output: str, errors: str, command: str) -> dict[str, Any]:
    """Its result; a failed test with all that it said when it passed judgement against the program."""
    if code == SKIPPED:
        pytest.skip(errors.strip().rpartition("skipped: ")[2])
    assert code == 0, f"python -m tests.faults.{command}\n{errors}\n{output}"
    result: dict[str, Any] = json.loads(output)
    return result
