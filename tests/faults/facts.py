"""Machine facts as a variable, for campaigns that run in this process or in children forked from it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.campaign import break_it
from tiktrue_keys.core import session
from tiktrue_keys.core.machine import Fact, FactKind, MachineFacts

FIVE: Mapping[FactKind, str] = {
    FactKind.SYSTEM_UUID: "4c4c4544-0042-3510-8052-c7c04f4e3332",
    FactKind.BOARD_SERIAL: ".7B5RN32.CNFCP0098U00J1.",
    FactKind.NIC: "b0:7b:25:9c:11:40",
    FactKind.DISK: "naa.55cd2e4151d2f9a7",
    FactKind.MACHINE_ID: "7d0f5a3b9c2e4f61a8b7c6d5e4f30912",
}


def machine(values: Mapping[FactKind, str]) -> MachineFacts:
    """A machine with these facts."""
    return MachineFacts("linux", tuple(Fact(kind, value, "made up") for kind, value in values.items()))


def become(values: Mapping[FactKind, str]) -> None:
    """From now on this process and its children run on that machine."""
    found = machine(values)
    break_it(session, "read_facts", lambda: found)


def with_another(kind: FactKind) -> dict[FactKind, str]:
    """The same machine with one part replaced."""
    return {**FIVE, kind: FIVE[kind].translate(str.maketrans("0123456789", "9876543210"))}
