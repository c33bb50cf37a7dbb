"""Runs code outside of the measurement of coverage, which triples the time of Python code.

A forked child that is killed, or ends by `os._exit`, takes `leave_measurement`: its data would be lost anyway. A test
of many repetitions has the mark `untraced`: others run the same lines.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def leave_measurement() -> None:
    """Trace nothing more in this process, in this thread and in those to come."""
    sys.settrace(None)
    threading.settrace(None)


@contextmanager
def untraced() -> Iterator[None]:
    """Trace nothing in this thread, and in those that begin meanwhile.

    pytest-cov's own mark `no_cover` stops one measurement and thereby resumes another: that of coverage's patch for
    subprocesses, which pytest's workers are.
    """
    tracers = sys.gettrace(), threading.gettrace()
    leave_measurement()
    try:
        yield
    finally:
        sys.settrace(tracers[0])
        threading.settrace(tracers[1])
