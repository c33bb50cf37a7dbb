"""The entry point of the console script: it catches signals before the program is imported.

Loading the program takes a tenth of a second. Ctrl-C in that time ends in the documented code, without a traceback:
nothing was begun yet.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_SHELL_OFFSET = 128
"""A shell reports a program that a signal ended as 128 and the signal's number; so do we."""


def main() -> None:
    """Run the program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ended)
    from tiktrue_keys.cli.program.main import main as run

    run()


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(_SHELL_OFFSET + number)
