"""The facts about a machine as plain values, of seven kinds.

Every platform's reader returns MachineFacts. This module reads nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tiktrue_keys.core.machine.identifiers import swapped_uuid


class FactKind(str, Enum):
    """The kinds of fact that a keystore may be bound to."""

    SYSTEM_UUID = "system-uuid"
    BOARD_SERIAL = "board-serial"
    NIC = "nic"
    WIFI = "wifi"
    DISK = "disk"
    GPU = "gpu"
    MACHINE_ID = "machine-id"


MACHINE_BORNE: tuple[FactKind, ...] = tuple(kind for kind in FactKind if kind is not FactKind.MACHINE_ID)
"""The kinds that stay with the hardware. The machine-id travels with a copied image and never replaces one of them."""


@dataclass(frozen=True)
class Fact:
    """One normalised value (printable ASCII, at most 256 characters) and the file or command that it came from.

    `flaw` says why the value does not name this machine alone, or that another fact carries the same number. Such a
    value still opens a keystore that was sealed to it, but no keystore is sealed to it.
    """

    kind: FactKind
    value: str
    source: str
    flaw: str = ""


@dataclass(frozen=True)
class MachineFacts:
    """All facts of a machine. Within a kind they are in the order of preference for an anchor.

    `unreadable` holds the paths that this user may not read. `virtual`: this is a virtual machine.
    """

    platform: str
    facts: tuple[Fact, ...]
    unreadable: tuple[str, ...] = ()
    virtual: bool = False

    def values(self, kind: FactKind) -> tuple[str, ...]:
        """Return the distinct values of one kind, the most stable first."""
        return tuple(dict.fromkeys(fact.value for fact in self.facts if fact.kind is kind))

    def tried(self, kind: FactKind) -> tuple[str, ...]:
        """Return every value that may open a keystore: flawed ones too, and a system UUID in both byte orders.

        An update of the firmware may change the byte order in which the system UUID is shown.
        """
        values = self.values(kind)
        if kind is not FactKind.SYSTEM_UUID:
            return values
        return tuple(dict.fromkeys((*values, *(swapped_uuid(value) for value in values))))

    def sealable(self, kind: FactKind) -> tuple[str, ...]:
        """Return the values that a keystore may be sealed to: they name this machine, and no other fact carries them.

        The most stable is first.
        """
        return tuple(dict.fromkeys(fact.value for fact in self.facts if fact.kind is kind and not fact.flaw))

    def flaw_of(self, kind: FactKind, value: str) -> str:
        """Return the flaw of a value that this machine has, in either byte order; empty if it has none."""
        known = {value, swapped_uuid(value)} if kind is FactKind.SYSTEM_UUID else {value}
        found = [fact.flaw for fact in self.facts if fact.kind is kind and fact.value in known]
        return found[0] if found and all(found) else ""
