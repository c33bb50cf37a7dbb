"""Writing to standard output and standard error, and what happens when the other end is gone or full."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from tiktrue_keys.errors import UnavailableError


def write_out(text: str) -> None:
    """Write and flush standard output; raises BrokenPipeError, or UnavailableError for any other failure."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise UnavailableError(f"standard output cannot be written: {os.strerror(error.errno or errno.EIO)}") from error


def write_err(text: str) -> None:
    """Write standard error; errors while writing to it are ignored."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def abandon_stdout() -> None:
    """Point standard output at nowhere, so that the interpreter's last flush fails silently."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_terminal(stream: object) -> bool:
    """Whether `stream` is a terminal that can be drawn on."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False
