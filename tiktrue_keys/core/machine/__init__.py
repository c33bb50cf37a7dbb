"""Reads the computer: one module for each platform, all returning `MachineFacts`. macOS is experimental.

Start with `linux.py`; `identifiers.py` says which texts name one machine. What a keystore is bound to is decided in
`core/fingerprint.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from tiktrue_keys.core.machine.facts import MACHINE_BORNE, Fact, FactKind, MachineFacts

__all__ = ["MACHINE_BORNE", "Fact", "FactKind", "MachineFacts", "read_facts"]


def read_facts() -> MachineFacts:
    """The facts of this machine as this user may read them; under 10 ms on Linux. Nothing overrides what is read."""
    return _reader(sys.platform)()


def _reader(platform: str) -> Callable[[], MachineFacts]:
    """The platform's reader. Other Unixes get Linux's: where the files are absent, so are the facts."""
    if platform == "darwin":
        from tiktrue_keys.core.machine import darwin

        return darwin.read_facts
    from tiktrue_keys.core.machine import linux

    return linux.read_facts
