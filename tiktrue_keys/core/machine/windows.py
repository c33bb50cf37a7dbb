"""Experimental: reads the facts of a Windows machine with one PowerShell command. Tested with recorded output only.

Come here for Windows. An installation on another drive than C: has no facts; `generate` then warns of a weak binding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tiktrue_keys.core.machine import identifiers
from tiktrue_keys.core.machine.commands import RunCommand, output_of
from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts

# An absolute path: Windows looks for a bare name in the current folder first.
_POWERSHELL = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
_SCRIPT = """
$ErrorActionPreference = 'SilentlyContinue'
[Console]::OutputEncoding = [Text.Encoding]::UTF8
ConvertTo-Json -Compress -Depth 3 @{
  guid = (Get-ItemProperty 'HKLM:\\SOFTWARE\\Microsoft\\Cryptography').MachineGuid
  uuid = (Get-CimInstance Win32_ComputerSystemProduct).UUID
  board = (Get-CimInstance Win32_BaseBoard).SerialNumber
  nics = @(Get-CimInstance -Namespace root/StandardCimv2 MSFT_NetAdapter |
    Where-Object { $_.HardwareInterface } | Select-Object PermanentAddress, PnPDeviceID)
  disks = @(Get-CimInstance -Namespace root/Microsoft/Windows/Storage MSFT_PhysicalDisk |
    Select-Object UniqueId, BusType)
}
"""
_COMMAND = (_POWERSHELL, "-NoProfile", "-NonInteractive", "-Command", _SCRIPT)
_MAX_ITEMS = 256
_BARE_ADDRESS = re.compile(r"[0-9A-Fa-f]{12}")
_BARE_IDENTIFIER = re.compile(r"(?:[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32})")
_USB = 7  # MSFT_PhysicalDisk.BusType
_ISCSI = 9


def read_facts(run: RunCommand = output_of) -> MachineFacts:
    """Return the facts of this Windows machine."""
    return facts_from(run(_COMMAND))


def facts_from(output: bytes) -> MachineFacts:
    """Return the facts in the command's JSON output. A malformed fact is left out."""
    try:
        report = json.loads(output.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        return MachineFacts("win32", ())
    return MachineFacts("win32", (*_firmware(report), *_nics(report), *_disks(report), *_machine_id(report)))


def _firmware(report: dict[str, Any]) -> Iterator[Fact]:
    uuid = identifiers.system_uuid(str(report.get("uuid", "")))
    serial = identifiers.board_serial(str(report.get("board", "")))
    if uuid is not None:
        yield Fact(FactKind.SYSTEM_UUID, uuid, "Win32_ComputerSystemProduct.UUID")
    if serial is not None and not (uuid is not None and identifiers.repeats_uuid(serial, uuid)):
        yield Fact(FactKind.BOARD_SERIAL, serial, "Win32_BaseBoard.SerialNumber")


def _nics(report: dict[str, Any]) -> list[Fact]:
    """Return NICs on PCI before those on USB, each group sorted by device id."""
    ranked: list[tuple[tuple[bool, str], Fact]] = []
    for item in _items(report.get("nics")):
        device = str(item.get("PnPDeviceID") or "")
        address = str(item.get("PermanentAddress") or "")
        if device.upper().startswith(("ROOT\\", "SWD\\")) or not _BARE_ADDRESS.fullmatch(address):  # software adapters
            continue
        value = identifiers.nic_address(bytes.fromhex(address).hex(":"))
        if value is not None:
            order = (device.upper().startswith("USB\\"), device)
            ranked.append((order, Fact(FactKind.NIC, value, "MSFT_NetAdapter.PermanentAddress")))
    return [fact for _, fact in sorted(ranked, key=lambda item: item[0])]


def _disks(report: dict[str, Any]) -> list[Fact]:
    """Return local disks before those on USB and iSCSI, each group sorted by identifier."""
    ranked: list[tuple[tuple[bool, str], Fact]] = []
    for item in _items(report.get("disks")):
        value = identifiers.disk_identifier(_spelled(str(item.get("UniqueId") or "").strip()))
        if value is not None:
            order = (item.get("BusType") in (_USB, _ISCSI), value)
            ranked.append((order, Fact(FactKind.DISK, value, "MSFT_PhysicalDisk.UniqueId")))
    return [fact for _, fact in sorted(ranked, key=lambda item: item[0])]


def _machine_id(report: dict[str, Any]) -> Iterator[Fact]:
    value = identifiers.machine_id(str(report.get("guid", "")))
    if value is not None:
        yield Fact(FactKind.MACHINE_ID, value, "MachineGuid")


def _spelled(unique_id: str) -> str:
    """Return an identifier as Linux spells it.

    Windows ends `eui.` with a dot and writes NAA (first digit 2, 3, 5 or 6) as bare digits.
    """
    bare = unique_id.rstrip(".")
    if _BARE_IDENTIFIER.fullmatch(bare):
        return f"naa.{bare}" if bare[0] in "2356" else f"eui.{bare}"
    return bare


def _items(value: object) -> list[dict[str, Any]]:
    return [item for item in value[:_MAX_ITEMS] if isinstance(item, dict)] if isinstance(value, list) else []
