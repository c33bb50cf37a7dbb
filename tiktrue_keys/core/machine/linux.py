"""Reads the facts of a Linux machine from files under /sys, /proc and /etc, so mounts can simulate another machine.

Come here to add a fact or to see why one is missing. No command is run and nothing is written. Not covered: MMC cards
and virtio disks, which have no world-wide identifier, and a NIC whose address was set or randomised (a team's port,
some Wi-Fi), because sysfs hides its permanent address.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tiktrue_keys.core.machine import identifiers
from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.machine.independence import judged
from tiktrue_keys.core.machine.shared_values import shared

_MAX_FILE = 1024  # bytes; the longest of these files, a SCSI designator, has under 300
_MAX_PROCESSOR = 8192  # bytes of /proc/cpuinfo: the first processor of many
_DMI = "/sys/class/dmi/id"
_NETWORK = "/sys/class/net"
_BLOCK = "/sys/class/block"
_RADIOS = "/sys/class/ieee80211"
_NVIDIA = "/proc/driver/nvidia/gpus"
VIRTUAL_FUNCTION = "a virtual function, whose address is assigned"
_DEVICE_TREE = ("/sys/firmware/devicetree/base/serial-number", "/proc/device-tree/serial-number")
_NOT_A_DISK = ("loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd")
_EXTERNAL = re.compile(r"/usb[0-9]+/")
_HYPERVISORS = ("/sys/hypervisor/type", "/sys/firmware/devicetree/base/hypervisor")
_VIRTUAL = re.compile(r"QEMU|KVM|VMware|VirtualBox|Virtual Machine|Xen|Google Compute Engine|OpenStack|Parallels|BHYVE")
_NETWORKED_DISK = re.compile(r"/session[0-9]+/|/rport-|/nvme-fabrics/")  # iSCSI, Fibre Channel, NVMe over fabrics


def read_facts() -> MachineFacts:
    """Return the facts of this machine."""
    return facts_under(Path("/"))


def facts_under(root: Path) -> MachineFacts:
    """Return the facts of the machine whose /sys, /proc and /etc are below `root`."""
    files = _Files(root)
    facts = (
        *_firmware(files),
        *_nics(files),
        *_radios(files),
        *_disks(files),
        *_gpus(files),
        *_machine_id(files),
    )
    return judged(MachineFacts(sys.platform, facts, tuple(files.unreadable), _is_virtual(files)))


class _Files:
    """Reads small files below a root, and collects the names of those that this user may not read."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root).rstrip("/")
        self.unreadable: list[str] = []

    def text(self, path: str) -> str | None:
        """Return the content as text; None when it is absent, unreadable, not a regular file, too long or not UTF-8."""
        data = self._data(path, _MAX_FILE + 1)
        try:
            return data.decode("utf-8").rstrip("\0\n") if data is not None and len(data) <= _MAX_FILE else None
        except UnicodeDecodeError:
            return None

    def start(self, path: str, limit: int) -> str:
        """Return the first `limit` bytes of a file as text, empty when it cannot be read."""
        return (self._data(path, limit) or b"").decode("utf-8", "replace")

    def _data(self, path: str, limit: int) -> bytes | None:
        try:
            # Without O_NONBLOCK a pipe in place of a file would block the program.
            descriptor = os.open(self._root + path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self._note(path, error)
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return os.read(descriptor, limit)
        except OSError as error:
            self._note(path, error)
            return None
        finally:
            os.close(descriptor)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, in no order."""
        try:
            return os.listdir(self._root + folder)
        except OSError as error:
            self._note(folder, error)
            return []

    def has(self, path: str) -> bool:
        """Return whether the entry exists, even if it is a link to a bus device outside of this root."""
        return os.path.lexists(self._root + path)

    def place(self, path: str) -> str:
        """Return the target of a link: the path of the device on its bus."""
        return os.path.realpath(self._root + path).removeprefix(self._root)

    def _note(self, path: str, error: OSError) -> None:
        if isinstance(error, PermissionError):
            self.unreadable.append(path)


def _fact(files: _Files, kind: FactKind, path: str, normalise: Callable[[str], str | None]) -> Fact | None:
    text = files.text(path)
    value = None if text is None else normalise(text)
    return None if value is None else Fact(kind, value, path)


def _firmware(files: _Files) -> Iterator[Fact]:
    """Yield the system UUID and the board serial, from SMBIOS or the device tree.

    The product serial is never used in place of the board's: on EC2, KVM and VMware it repeats the system UUID, and on
    OpenStack it may be the host's and change with a live migration.
    """
    uuid = _fact(files, FactKind.SYSTEM_UUID, f"{_DMI}/product_uuid", identifiers.system_uuid)
    if uuid is not None:
        yield uuid
    for path in (f"{_DMI}/board_serial", *_DEVICE_TREE):
        serial = _fact(files, FactKind.BOARD_SERIAL, path, identifiers.board_serial)
        if serial is not None:
            yield serial
            if not shared(serial.kind, serial.value):
                return


def _nics(files: _Files) -> list[Fact]:
    """Return the permanent addresses of NICs on a bus: built-in before USB, wired before wireless, then by address."""
    ranked: list[tuple[tuple[bool, bool, str], Fact]] = []
    for name in files.names(_NETWORK):
        folder = f"{_NETWORK}/{name}"
        if not files.has(f"{folder}/device"):  # veth, bridge, tun, docker0, lo
            continue
        place = files.place(folder)
        if place.startswith("/sys/devices/virtual/"):  # a simulated radio
            continue
        fact = _permanent_address(files, folder)
        if fact is not None:
            # Thunderbolt docks are PCI devices; the kernel marks them removable.
            external = bool(_EXTERNAL.search(place)) or files.text(f"{folder}/device/removable") == "removable"
            if files.has(f"{folder}/device/physfn"):
                fact = replace(fact, flaw=VIRTUAL_FUNCTION)
            ranked.append(((external, files.has(f"{folder}/phy80211"), fact.value), fact))
    return [fact for _, fact in sorted(ranked, key=lambda item: item[0])]


def _radios(files: _Files) -> list[Fact]:
    """Return the permanent addresses of Wi-Fi radios, which an interface with a random address does not show."""
    paths = (f"{_RADIOS}/{name}" for name in files.names(_RADIOS))
    real = (path for path in paths if not files.place(path).startswith("/sys/devices/virtual/"))
    found = (_fact(files, FactKind.WIFI, f"{path}/macaddress", identifiers.nic_address) for path in real)
    return sorted((fact for fact in found if fact is not None), key=lambda fact: fact.value)


def _gpus(files: _Files) -> list[Fact]:
    """Return the UUIDs of GPUs, as NVIDIA's driver shows them."""
    found = []
    for name in files.names(_NVIDIA):
        path = f"{_NVIDIA}/{name}/information"
        lines = (line.partition(":") for line in (files.text(path) or "").splitlines())
        value = next((identifiers.gpu_uuid(text) for title, _, text in lines if title == "GPU UUID"), None)
        found += [] if value is None else [Fact(FactKind.GPU, value, path)]
    return sorted(found, key=lambda fact: fact.value)


def _is_virtual(files: _Files) -> bool:
    """Return whether this is a virtual machine: the processor's hypervisor flag, or what the hypervisor shows."""
    processor = files.start("/proc/cpuinfo", _MAX_PROCESSOR)
    flags = next((line.partition(":")[2].split() for line in processor.splitlines() if line.startswith("flags")), [])
    if "hypervisor" in flags or any(files.has(path) for path in _HYPERVISORS):
        return True
    names = (files.text(f"{_DMI}/{name}") or "" for name in ("sys_vendor", "product_name"))
    return any(_VIRTUAL.search(name) for name in names)


def _permanent_address(files: _Files, folder: str) -> Fact | None:
    # A bond gives all its members one address and marks it as set; sysfs keeps each member's own beside it.
    if files.has(f"{folder}/bonding_slave"):
        return _fact(files, FactKind.NIC, f"{folder}/bonding_slave/perm_hwaddr", identifiers.nic_address)
    if files.text(f"{folder}/addr_assign_type") != "0":  # not NET_ADDR_PERM: random, stolen or set
        return None
    return _fact(files, FactKind.NIC, f"{folder}/address", identifiers.nic_address)


def _disks(files: _Files) -> list[Fact]:
    """Return the identifiers of whole disks: local before USB before networked, then by identifier.

    /sys/class/block lists every whole disk. SCSI and ATA keep the identifier at the device, NVMe at the disk itself.
    Removable media are left out, because they move from machine to machine.
    """
    ranked: list[tuple[tuple[bool, bool, str], Fact]] = []
    for name in files.names(_BLOCK):
        folder = f"{_BLOCK}/{name}"
        if name.startswith(_NOT_A_DISK) or files.has(f"{folder}/partition"):
            continue
        fact = _fact(files, FactKind.DISK, f"{folder}/wwid", identifiers.disk_identifier) or _fact(
            files, FactKind.DISK, f"{folder}/device/wwid", identifiers.disk_identifier
        )
        if fact is not None and files.text(f"{folder}/removable") != "1":
            place = files.place(folder)
            ranked.append(((bool(_NETWORKED_DISK.search(place)), bool(_EXTERNAL.search(place)), fact.value), fact))
    return [fact for _, fact in sorted(ranked, key=lambda item: item[0])]


def _machine_id(files: _Files) -> Iterator[Fact]:
    fact = _fact(files, FactKind.MACHINE_ID, "/etc/machine-id", identifiers.machine_id)
    if fact is not None:
        yield fact
