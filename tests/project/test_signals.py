"""What the suite makes of the signals that it inherits."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.signals import reset_signals

TOLD = """
import signal
from tests.signals import reset_signals
reset_signals()
left = [name for name in signal.valid_signals() if signal.getsignal(name) is signal.SIG_IGN]
print(sorted(left), signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGINT).__name__)
"""


def ignore_and_block_all() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def test_nothing_stays_ignored_or_blocked_but_what_python_ignores_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD],
        preexec_fn=ignore_and_block_all,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[<Signals.SIGPIPE: 13>, <Signals.SIGXFSZ: 25>] set() default_int_handler\n"


def test_a_handler_stays() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        handler = signal.getsignal(signal.SIGUSR1)
        reset_signals()
        assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        signal.signal(signal.SIGUSR1, before)
