"""Makes escrows for tests, and keeps their shares in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.recovery.escrow import create_escrow
from tiktrue_keys.recovery.shares import Share


class Holders:
    """Those who get the shares; `taken_back` says whether they were told that they hold nothing."""

    def __init__(self) -> None:
        self.shares: list[Share] = []
        self.taken_back = False

    def __call__(self, _: bytes, shares: Sequence[Share]) -> Callable[[], None]:
        self.shares, self.taken_back = list(shares), False
        return self._take_back

    def _take_back(self) -> None:
        self.taken_back = True


def escrow_of(manager: KeyManager, *, shares: int = 5, threshold: int = 3, **options: Any) -> list[Share]:
    """A new escrow's shares."""
    holders = Holders()
    create_escrow(manager, holders, shares=shares, threshold=threshold, **options)
    return holders.shares
