"""Signals as a terminal's shell leaves them, whatever this process inherited: nohup, a background job, a supervisor.

Programs that tests start inherit what this process ignores or blocks, and would then not end by it.
"""

from __future__ import annotations

import signal

_PYTHONS_OWN = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Ignored by Python itself, which gives its children the default."""


def reset_signals() -> None:
    """Give every signal that is ignored its default again, and block none. Call it on the main thread."""
    for number in signal.valid_signals() - _PYTHONS_OWN:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
