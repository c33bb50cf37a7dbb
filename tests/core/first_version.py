"""Keystores of schema version 1 as this program writes them: in a child of its own that knows no later version.

The stored keystore in tests/vectors is what the program of that version left; these hold whatever a test needs.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.keystores import Desk, in_a_child
from tiktrue_keys.core.keystore import schema


def in_the_first_version(desk: Desk, work: Callable[[], object]) -> None:
    """Run `work` in a child that writes schema version 1; the desk's own managers are closed before."""
    desk.close()

    def child() -> bytes:
        schema.VERSION = schema.FIRST_VERSION
        work()
        desk.close()
        return b"done"

    assert in_a_child(child) == b"done"
