"""Which process began an act, so that a later one can tell whether it still runs: pid, start time, boot."""

from __future__ import annotations

import os


def this_process() -> str:
    """`pid:start:boot`, where start is the process's start in clock ticks since boot; empty parts where unknown."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> str:
    """The same for any process; only the pid where the system does not tell more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The command may hold blanks and parentheses: count from the last one.
            start = stat.read(4096).rpartition(b")")[2].split()[19].decode()
        with open("/proc/sys/kernel/random/boot_id", "rb") as boot_id:
            boot = boot_id.read(64).decode().strip()
    except (OSError, IndexError, UnicodeDecodeError):
        return f"{pid}::"
    return f"{pid}:{start}:{boot}"


def is_running(process: str) -> bool:
    """Whether the process that a FileAct names is still the one that runs under its pid."""
    pid = process.partition(":")[0]
    if not pid.isdigit() or describe_process(int(pid)) != process:
        return False
    return not process.endswith("::") or _is_there(int(pid))


def _is_there(pid: int) -> bool:
    """Whether any process has that pid: on systems that tell no more, a live one is never taken for dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
