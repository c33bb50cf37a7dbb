"""Runs one program as if it had been started in our place: its streams, its signals, its status.

Does not handle: what it is given to read (serving/execute.py).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping, Sequence

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import UnavailableError

_FORWARDED = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
)
_LOOK_AGAIN = 0.1  # seconds
_SIGNALLED = 128
"""A program that died by signal n gives 128 + n, as in a shell."""
_FROM_A_PROCESS = 0
"""si_code of kill(2) and below: sigqueue(3), tkill(2). The kernel's own, such as a terminal's Ctrl-C, are above."""


def run_child(words: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]) -> int:
    """Run a program found by PATH, which inherits `descriptors` and the standard streams, and return its status.

    A signal that some process sends to us goes on to the program; one from the terminal has reached it already, because
    it is in our process group. UnavailableError when it cannot be started. Call it on the main thread.
    """
    awaited = _FORWARDED | {signal.SIGCHLD}
    # Blocked before the program is there, so that none is lost, and waited for: no handler of ours runs meanwhile.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    ignoring_children = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if ignoring_children:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else its status would be lost
    try:
        return _wait(_start(words, environment, descriptors, before), awaited)
    finally:
        if ignoring_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    words: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int], mask: Collection[int]
) -> int:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    try:
        return os.posix_spawnp(
            words[0],
            list(words),
            dict(environment),
            setsigmask=mask,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these two; a program expects the default
        )
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UnavailableError(f"{shown(words[0])} cannot be run: {reason}") from error
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)


def _wait(child: int, awaited: frozenset[signal.Signals]) -> int:
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALLED - code
        # Not for ever: a thread of ours that does not block it may be given the SIGCHLD, which then is nobody's.
        found = signal.sigtimedwait(awaited, _LOOK_AGAIN)
        if found is None or found.si_signo == signal.SIGCHLD:
            continue
        if found.si_code <= _FROM_A_PROCESS and found.si_pid != child:
            os.kill(child, found.si_signo)  # not reaped yet, so the pid is still its own
