"""A command that keeps running ends as soon as the reader of its output is gone."""

from __future__ import annotations

import subprocess

from tests.program import Program
from tests.waiting import PATIENCE


def test_a_command_that_follows_ends_with_its_reader(program: Program) -> None:
    program.generate()
    with subprocess.Popen(
        program.argv("audit", "show", "--follow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=program.folder,
        env=program.environment,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b"NUMBER")
        running.stdout.close()
        assert running.wait(PATIENCE) == 141  # nothing is recorded meanwhile
        assert running.stderr is not None
        assert running.stderr.read() == b""
