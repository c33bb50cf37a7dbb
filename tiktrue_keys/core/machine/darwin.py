"""Experimental: reads the facts of a Mac from the I/O registry. Tested with recorded output only.

Come here for macOS. Two kinds are missing: disks (a Mac's are soldered in and show no world-wide identifier) and the
machine-id (macOS has none).
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterator
from typing import Any
from xml.parsers.expat import ExpatError

from tiktrue_keys.core.machine import identifiers
from tiktrue_keys.core.machine.commands import RunCommand, output_of
from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.machine.independence import judged

_IOREG = "/usr/sbin/ioreg"
_PLATFORM = (_IOREG, "-rd1", "-c", "IOPlatformExpertDevice", "-a")
_ETHERNET = (_IOREG, "-rd2", "-c", "IOEthernetController", "-a")  # two levels: the controller and its interface
_MAX_ENTRIES = 256
_ADDRESS_BYTES = 6


def read_facts(run: RunCommand = output_of) -> MachineFacts:
    """Return the facts of this Mac."""
    return facts_from(run(_PLATFORM), run(_ETHERNET))


def facts_from(platform: bytes, ethernet: bytes) -> MachineFacts:
    """Return the facts in two outputs of `ioreg -a`. A malformed fact is left out."""
    return judged(MachineFacts("darwin", (*_platform_facts(platform), *_nics(ethernet))))


def _platform_facts(output: bytes) -> Iterator[Fact]:
    for entry in _entries(output)[:1]:
        uuid = identifiers.system_uuid(str(entry.get("IOPlatformUUID", "")))
        serial = identifiers.board_serial(str(entry.get("IOPlatformSerialNumber", "")))
        if uuid is not None:
            yield Fact(FactKind.SYSTEM_UUID, uuid, "IOPlatformUUID")
        if serial is not None:
            yield Fact(FactKind.BOARD_SERIAL, serial, "IOPlatformSerialNumber")


def _nics(output: bytes) -> list[Fact]:
    """Return built-in NICs before attached ones, each group sorted by BSD name."""
    ranked: list[tuple[tuple[bool, str], Fact]] = []
    for entry in _entries(output):
        address = entry.get("IOMACAddress")
        if not isinstance(address, bytes) or len(address) != _ADDRESS_BYTES:
            continue
        value = identifiers.nic_address(address.hex(":"))
        interface = next(iter(_dictionaries(entry.get("IORegistryEntryChildren"))), {})
        if value is not None:
            order = (interface.get("IOBuiltin") is not True, str(interface.get("BSD Name", "~")))
            ranked.append((order, Fact(FactKind.NIC, value, "IOMACAddress")))
    return [fact for _, fact in sorted(ranked, key=lambda item: item[0])]


def _entries(output: bytes) -> list[dict[str, Any]]:
    try:
        return _dictionaries(plistlib.loads(output, fmt=plistlib.FMT_XML))
    except (ExpatError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return []  # plistlib raises any of these on broken documents


def _dictionaries(value: object) -> list[dict[str, Any]]:
    return [item for item in value[:_MAX_ENTRIES] if isinstance(item, dict)] if isinstance(value, list) else []
