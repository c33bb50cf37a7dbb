"""Runs the operating system's reporting commands, for the platforms that offer their facts only through a command.

Come here for the limits that such a command runs under.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

RunCommand = Callable[[Sequence[str]], bytes]
"""Takes an argv that starts with an absolute path; returns standard output, empty when the command failed."""

_TIMEOUT_SECONDS = 30
_MAX_OUTPUT = 4 * 1024 * 1024


def output_of(argv: Sequence[str]) -> bytes:
    """Return the output of a command; empty when it is missing, fails, takes over 30 seconds or writes over 4 MiB."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout if len(done.stdout) <= _MAX_OUTPUT else b""
