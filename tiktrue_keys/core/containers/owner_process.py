"""Identifies the process that began a file operation: pid, start time, boot.

Come here for how a later process determines whether the operation is still in progress.
"""

from __future__ import annotations

import os
from functools import cache


def this_process() -> str:
    """Return `pid:start:boot` of this process. `start` is in clock ticks since boot; unknown parts are empty."""
    return _described_once(os.getpid())


@cache
def _described_once(pid: int) -> str:
    # None of it changes while the process runs, and many intents may name it in one transaction.
    return describe_process(pid)


def describe_process(pid: int) -> str:
    """Return `pid:start:boot` of any process, or `pid::` where the system tells no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The command may hold blanks and parentheses, so count from the last parenthesis.
            start = stat.read(4096).rpartition(b")")[2].split()[19].decode()
        with open("/proc/sys/kernel/random/boot_id", "rb") as boot_id:
            boot = boot_id.read(64).decode().strip()
    except (OSError, IndexError, UnicodeDecodeError):
        return f"{pid}::"
    return f"{pid}:{start}:{boot}"


def is_running(process: str) -> bool:
    """Return whether the process that a FileIntent names still runs under its pid."""
    pid = process.partition(":")[0]
    if not pid.isdigit() or describe_process(int(pid)) != process:
        return False
    return not process.endswith("::") or _is_there(int(pid))


def _is_there(pid: int) -> bool:
    """Return whether any process has that pid.

    Where the system tells no more than the pid, a live process is never taken for dead.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
