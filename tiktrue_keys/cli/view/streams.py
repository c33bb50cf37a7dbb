"""Writes to standard output and standard error, also when the reader is gone or the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO

from tiktrue_keys.errors import UnavailableError

_AT_ONCE = 1 << 16


def write_out(text: str) -> None:
    """Write and flush standard output. Raises BrokenPipeError, or UnavailableError for any other failure."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise UnavailableError(
            f"standard output cannot be written: {reason}", "check where standard output goes, then run it again"
        ) from error


def write_pieces(pieces: Iterable[str], write: Callable[[str], None]) -> None:
    """Pass a text that comes in pieces to `write_out` or `write_err`, about 64 KiB at a time."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _AT_ONCE:
            write("".join(held))
            held, size = [], 0
    if held:
        write("".join(held))


def write_err(text: str) -> None:
    """Write standard error; errors are ignored."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def wait_for_reader(seconds: float, output: IO[str]) -> None:
    """Wait for that time. Raises BrokenPipeError as soon as the reader of `output` is gone."""
    poll = select.poll()
    try:
        poll.register(output.fileno(), 0)  # an error is always reported; readiness to write is not wanted
    except (OSError, ValueError):
        time.sleep(seconds)
        return
    if any(event & select.POLLERR for _, event in poll.poll(int(seconds * 1_000))):
        raise BrokenPipeError


def message_line(text: str) -> str:
    """Return a message as a line for standard error; on a terminal it is wrapped at words."""
    if not is_terminal(sys.stderr):
        return f"{text}\n"
    from tiktrue_keys.cli.view.line_breaks import terminal_width, wrapped

    return f"{wrapped(text, terminal_width())}\n"


def abandon_stdout() -> None:
    """Redirect standard output to /dev/null, so that the interpreter's last flush does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_terminal(stream: object) -> bool:
    """Return whether `stream` is a terminal that can be drawn on."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False
