"""How long tests wait for what must happen: as long as the slowest machine may take, and no longer than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which something counts as never happening. Only a test that fails waits for so long."""


def wait_until(condition: Callable[[], object], *, pause: float = 0.01) -> None:
    """Return once the condition holds; AssertionError when it does not within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(pause)
