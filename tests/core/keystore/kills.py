"""Kills a process at a chosen system call (strace's fault injection) and lists the calls worth a kill.

The operation runs in a forked child that waits until strace is attached: the modules are loaded already, so that the
first call that is counted is the operation's own. SIGKILL arrives when the call is entered: the call itself does not
happen.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.untraced import leave_measurement
from tests.waiting import PATIENCE

_CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,"
    "ftruncate,mkdir,mkdirat,chmod,fchmod,fchmodat,flock,fcntl,close"
)
_LINE = re.compile(r"([a-z0-9]+)\((.*)")
_PATIENCE_SECONDS = PATIENCE


@dataclass(frozen=True)
class KillPoint:
    """The `nth` (from 1) call of that name since the operation began, and what it was about to do."""

    call: str
    nth: int
    text: str


@dataclass(frozen=True)
class Outcome:
    """Whether the operation's process was killed, and whether it had told of its success before."""

    killed: bool
    acknowledged: bool


@cache
def skip_reason() -> str | None:
    """Why nothing can be killed here, or None."""
    if sys.platform != "linux":
        return "kills need Linux"
    if shutil.which("strace") is None:
        return "kills need strace"
    outcome = run(lambda: None, ("-e", "inject=write:signal=KILL:when=1"))
    return None if outcome is not None and outcome.killed else "strace may not trace here"


def kill_points(operation: Callable[[], object], folders: Sequence[Path], log: Path) -> list[KillPoint]:
    """Run the operation unharmed; its calls from the first one that names one of `folders`."""
    outcome = run(operation, (), log)
    assert outcome == Outcome(killed=False, acknowledged=True), log.read_text()
    counts: Counter[str] = Counter()
    points: list[KillPoint] = []
    for line in log.read_text().splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        counts[found[1]] += 1
        if points or any(f'"{folder}' in found[2] for folder in folders):
            points.append(KillPoint(found[1], counts[found[1]], line[:120]))
    return points


def thinned(points: list[KillPoint], keep: int) -> list[KillPoint]:
    """About `keep` points: of a run of equal calls the first two and the last, then spread evenly."""
    edges = [
        point
        for at, point in enumerate(points)
        if not (2 <= at < len(points) - 1 and {points[at + step].call for step in (-2, -1, 1)} == {point.call})
    ]
    step = max(len(edges) / keep, 1.0)
    return [edges[int(at * step)] for at in range(min(keep, len(edges)))]


def killed_at(operation: Callable[[], object], point: KillPoint) -> Outcome:
    """Run the operation and kill it at that call."""
    outcome = run(operation, ("-e", f"inject={point.call}:signal=KILL:when={point.nth}"))
    assert outcome is not None
    return outcome


def run(operation: Callable[[], object], injection: Sequence[str], log: Path = Path("/dev/null")) -> Outcome | None:
    """Run the operation in a traced child; None when strace could not attach."""
    start_reading, start = os.pipe()
    acknowledged, acknowledge = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        _operation(operation, start_reading, acknowledge)
    os.close(start_reading)
    os.close(acknowledge)
    argv = ["strace", "-qq", "-p", str(child), "-o", str(log), "-e", f"trace={_CALLS}", *injection]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as strace:
        attached = _wait_for_tracer(child, strace)
        os.write(start, b".")
        os.close(start)
        _, status = os.waitpid(child, 0)
        strace.wait(_PATIENCE_SECONDS)
    with open(acknowledged, "rb") as pipe:
        told = pipe.read() == b"done"
    return Outcome(os.WIFSIGNALED(status), told) if attached else None


def _operation(operation: Callable[[], object], start: int, acknowledge: int) -> None:
    try:
        leave_measurement()
        os.read(start, 1)
        operation()
        os.write(acknowledge, b"done")
        os._exit(0)
    finally:
        os._exit(1)


def _wait_for_tracer(child: int, strace: subprocess.Popen[bytes]) -> bool:
    status = Path(f"/proc/{child}/status")
    until = time.monotonic() + _PATIENCE_SECONDS
    while "TracerPid:\t0" in status.read_text():
        if strace.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True
