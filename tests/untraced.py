"""Takes the measurement of coverage from a forked child.

Come here for a child that is killed, or ends by `os._exit`: its data is lost, and being traced triples its time.
"""

from __future__ import annotations

import sys
import threading


def leave_measurement() -> None:
    """Trace nothing more in this process, in this thread and in those to come."""
    sys.settrace(None)
    threading.settrace(None)
