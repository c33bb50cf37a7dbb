"""What a piece of work costs, counted instead of timed: the same on a slow machine, a busy one and a fast one."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tiktrue_keys.core.keystore.store import Keystore

SEAL, OPEN, HMAC = "AESGCMSIV.encrypt", "AESGCMSIV.decrypt", "hmac_digest"
STRETCH, SYNC, SQL, PROCESS = "PBKDF2HMAC.derive_into", "fsync", "Connection.execute", "fork_exec"
"""Names of functions as calls_of counts them."""

COUNTED_IO = Path("/proc/self/io")
COUNTS_IO = pytest.mark.skipif(not COUNTED_IO.exists(), reason="the system does not count a process's reads and writes")


def calls_of(work: Callable[[], object]) -> Counter[str]:
    """How often this thread calls each function written in C, by its qualified name, while `work` runs.

    Calls of functions written in Python are counted together, as `python`. `total` of the result is the measure of all.
    """
    calls: Counter[str] = Counter()

    def count(_: FrameType, event: str, called: Any) -> None:
        if event == "call":
            calls["python"] += 1
        elif event == "c_call":
            calls[getattr(called, "__qualname__", "")] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def times_called(function: Callable[..., object], work: Callable[[], object]) -> int:
    """How often `work`, in any thread that it starts, calls a function that is written in Python."""
    code, count = function.__code__, 0
    guard = threading.Lock()

    def counted(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        if event == "call" and frame.f_code is code:
            with guard:
                count += 1

    before = sys.getprofile()
    threading.setprofile(counted)
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return count


def commits_of(work: Callable[[], object]) -> int:
    """How many transactions of a keystore `work` commits."""
    return times_called(Keystore._commit, work)


def bytes_read() -> int:
    """The bytes that this process has read so far, from whatever it was."""
    fields = dict(line.split(": ") for line in COUNTED_IO.read_text().splitlines())
    return int(fields["rchar"])
