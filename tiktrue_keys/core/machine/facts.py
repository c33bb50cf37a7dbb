"""The facts about a machine as plain values, of five kinds.

Every platform's reader returns MachineFacts. This module reads nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FactKind(str, Enum):
    """The kinds of fact that a keystore may be bound to."""

    SYSTEM_UUID = "system-uuid"
    BOARD_SERIAL = "board-serial"
    NIC = "nic"
    DISK = "disk"
    MACHINE_ID = "machine-id"


MACHINE_BORNE: tuple[FactKind, ...] = (FactKind.SYSTEM_UUID, FactKind.BOARD_SERIAL, FactKind.NIC, FactKind.DISK)
"""The kinds that stay with the hardware. The machine-id travels with a copied image and never replaces one of them."""


@dataclass(frozen=True)
class Fact:
    """One normalised value (printable ASCII, at most 256 characters) and the file or command that it came from."""

    kind: FactKind
    value: str
    source: str


@dataclass(frozen=True)
class MachineFacts:
    """All facts of a machine. Within a kind they are in the order of preference for an anchor.

    `unreadable` holds the paths that this user may not read.
    """

    platform: str
    facts: tuple[Fact, ...]
    unreadable: tuple[str, ...] = ()

    def values(self, kind: FactKind) -> tuple[str, ...]:
        """Return the distinct values of one kind, sorted."""
        return tuple(sorted({fact.value for fact in self.facts if fact.kind is kind}))

    def preferred(self, kind: FactKind) -> tuple[str, ...]:
        """Return the distinct values of one kind, the most stable first."""
        return tuple(dict.fromkeys(fact.value for fact in self.facts if fact.kind is kind))
