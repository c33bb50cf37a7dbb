"""Runs the program on a pseudo-terminal: prompts, hidden input, what is drawn for people."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

from tests.program import Program
from tests.waiting import PATIENCE


class Terminal:
    """The program on a pseudo-terminal of its own, which is its controlling terminal."""

    def __init__(self, program: Program, *words: str, env: dict[str, str] | None = None) -> None:
        self.master, slave = pty.openpty()
        environment = {**program.environment, "TERM": "xterm-256color", "COLUMNS": "200", **(env or {})}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *program.argv(*words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=program.folder,
            env=environment,
        )
        os.close(slave)
        self.said = ""

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while words not in self.said:
            assert time.monotonic() < deadline, f"never said {words!r}: {self.said!r}"
            if not self._read(0.2) and self.process.poll() is not None:
                raise AssertionError(f"ended without {words!r}: {self.said!r}")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        while self._read(0.5) or self.process.poll() is None:
            pass
        os.close(self.master)
        return self.process.wait(timeout=PATIENCE)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65_536)
        except OSError:  # Linux: the other side has closed
            return False
        self.said += data.decode("utf-8", "replace")
        return bool(data)
