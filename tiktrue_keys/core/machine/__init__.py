"""Reads the facts that identify a computer: one module per platform, each returning `MachineFacts`.

Linux is supported, macOS is experimental. Start with `linux.py`; `identifiers.py` decides which texts identify a single
machine. `core/fingerprint.py` decides what a keystore is bound to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from tiktrue_keys.core.machine.facts import MACHINE_BORNE, Fact, FactKind, MachineFacts

__all__ = ["MACHINE_BORNE", "Fact", "FactKind", "MachineFacts", "read_facts"]


def read_facts() -> MachineFacts:
    """Return the facts of this machine that this user may read, in under 10 ms on Linux. Nothing overrides them."""
    return _reader(sys.platform)()


def _reader(platform: str) -> Callable[[], MachineFacts]:
    """Return the reader of the platform. Other Unixes use Linux's: files that are absent give no facts."""
    if platform == "darwin":
        from tiktrue_keys.core.machine import darwin

        return darwin.read_facts
    from tiktrue_keys.core.machine import linux

    return linux.read_facts
