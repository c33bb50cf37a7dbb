"""Runs one program as if it had been started in place of ours: same standard streams, signals and exit status.

Does not handle: the descriptors that the program reads (serving/execute.py).
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Collection, Mapping, Sequence

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import UnavailableError

_FORWARDED = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
)
_HINTS = {
    errno.ENOENT: "check the name of the program and PATH, or give the program's path",
    errno.EACCES: "make the program executable with chmod +x, and check that its file system allows execution",
    errno.ENOEXEC: "check that the program is built for this machine; a script needs a first line #!INTERPRETER",
    errno.E2BIG: "shorten the program's arguments or environment",
}
_LOOK_AGAIN = 0.1  # seconds
_SIGNALLED = 128
"""The exit status of a program that died by signal n is 128 + n, as in a shell."""
_FROM_A_PROCESS = 0
"""si_code of kill(2). sigqueue(3) and tkill(2) have lower values; the kernel (Ctrl-C on a terminal) higher ones."""


def run_child(words: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]) -> int:
    """Run a program found by PATH, which inherits `descriptors` and the standard streams, and return its status.

    A signal that another process sends to us is forwarded to the program. A signal from the terminal is not, because
    the program is in our process group and has received it. Call this on the main thread. Raises UnavailableError when
    the program cannot be started.
    """
    awaited = _FORWARDED | {signal.SIGCHLD}
    # Block the signals before the program starts, so that none is lost, then wait for them: our handlers do not run.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    ignoring_children = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if ignoring_children:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # otherwise its exit status would be lost
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
        hint = _HINTS.get(getattr(error, "errno", None) or 0, "check the program and its arguments")
        raise UnavailableError(f"{shown(words[0])} cannot be run: {reason}", hint) from error
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)


def _wait(child: int, awaited: frozenset[signal.Signals]) -> int:
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALLED - code
        # Poll: the kernel may deliver SIGCHLD to another thread that does not block it; then none arrives here.
        found = signal.sigtimedwait(awaited, _LOOK_AGAIN)
        if found is None or found.si_signo == signal.SIGCHLD:
            continue
        if found.si_code <= _FROM_A_PROCESS and found.si_pid != child:
            os.kill(child, found.si_signo)  # not reaped yet, so the pid is still its own
