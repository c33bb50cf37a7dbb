"""What was read about a machine: facts of five kinds, as plain values. Reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FactKind(str, Enum):
    """The kinds of facts that a keystore may be bound to."""

    SYSTEM_UUID = "system-uuid"
    BOARD_SERIAL = "board-serial"
    NIC = "nic"
    DISK = "disk"
    MACHINE_ID = "machine-id"


MACHINE_BORNE: tuple[FactKind, ...] = (FactKind.SYSTEM_UUID, FactKind.BOARD_SERIAL, FactKind.NIC, FactKind.DISK)
"""The kinds that stay with the hardware; the machine-id travels with a copied image and never stands in for one."""


@dataclass(frozen=True)
class Fact:
    """One normalised value (printable ASCII, at most 256 characters) and the file or command it came from."""

    kind: FactKind
    value: str
    source: str


@dataclass(frozen=True)
class MachineFacts:
    """All facts of a machine. Within a kind the order of `facts` is the order of preference for an anchor."""

    platform: str
    facts: tuple[Fact, ...]
    unreadable: tuple[str, ...] = ()

    def values(self, kind: FactKind) -> tuple[str, ...]:
        """The values of one kind, sorted, each once."""
        return tuple(sorted({fact.value for fact in self.facts if fact.kind is kind}))

    def preferred(self, kind: FactKind) -> tuple[str, ...]:
        """The values of one kind, each once, the steadiest first."""
        return tuple(dict.fromkeys(fact.value for fact in self.facts if fact.kind is kind))
