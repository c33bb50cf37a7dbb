"""Which identifiers many machines have: values that are published, and the rules that placeholders follow.

Come here when a placeholder is taken for an identifier, or the reverse. A keystore is never sealed to such a value, but
a keystore that was sealed to one still opens by it. The functions are pure. Whether two facts of one machine carry the
same number is decided in independence.py.

Sources of the tables: the default blacklists of the GLPI inventory (Blacklist.php), the list of duplicate product UUIDs
in the Rockstor documentation ("Fake Appliance ID examples"), the QEMU, libvirt, Firecracker and VMware manuals, Google
Cloud's "Symbolic links for disks", Microsoft's "Advanced settings configuration in WSL".
"""

from __future__ import annotations

import re
from itertools import pairwise

from tiktrue_keys.core.machine.facts import FactKind
from tiktrue_keys.core.machine.identifiers import NVME_DISK, swapped_uuid

PUBLISHED = "many machines have this value"
PLACEHOLDER = "a placeholder"
COUNTER = "a counter, the same on other machines"
SPELLS_IP = "it spells an IP address"
HYPERVISOR = "a hypervisor's default"
SPELLS_MODEL = "it spells the model"
SPELLS_MAC = "it spells a network address"

_UUIDS = frozenset(
    {
        "03000200-0400-0500-0006-000700080009",  # AMI's example value
        "00020003-0004-0005-0006-000700080009",  # the same in the other byte order
        "6ab5b300-538d-1014-9fb5-b0684d007b53",
        "5c4606fa-192f-453a-b299-7b088c63bb9b",
        "00000000-0000-0000-0807-060504030201",
    }
)
_ADDRESSES = frozenset(
    {
        "5c:bb:f6:9e:ee:fa",  # WSL in bridged mode
        "00:e0:4c:68:00:01",  # Realtek USB adapters, unprogrammed
        "00:e0:4c:53:44:58",  # DM9601 and RD9700 USB adapters
        "00:a0:c6:00:00:00",  # Qualcomm mobile broadband
        "02:80:37:ec:02:00",  # Ericsson mobile broadband
        "00:0b:ca:fe:00:00",
        "00:05:9a:3c:7a:00",  # Cisco VPN client
        "02:00:4e:43:50:49",  # NCP VPN client
        "24:b6:20:52:41:53",
        "20:41:53:59:4e:ff",
        "50:50:54:50:30:30",
        "d2:0a:2d:a0:04:be",
        "d2:6b:25:2f:2c:e7",
        "e2:e6:16:20:0a:35",
        "fe:ff:ff:ff:ff:ff",  # Xen's bridge ports
    }
)
_IP_PREFIXES = ("42:01:", "02:42:", "06:00:", "0a:58:")
"""Google Cloud, Docker, Firecracker's guide, OVN-Kubernetes: four bytes of an IP address follow."""

_HYPERVISOR_PREFIXES = (
    "52:54:00:12:34:",  # QEMU's default, and those of a second interface and more
    "02:fc:00:00:",  # Firecracker's examples
    "00:50:56:c0:00:",  # VMware's host adapters
    "0a:00:27:00:00:",  # VirtualBox's host-only networks
    "00:1c:42:00:00:",  # Parallels' host adapters
)
_WORDS = frozenset(
    {
        "none",
        "null",
        "unknown",
        "unknow",
        "empty",
        "invalid",
        "default",
        "undefined",
        "unspecified",
        "standard",
        "deadbeef",
        "eval",
        "iatpass",
        "oem",
        "tbd",
        "tulipcomputers",
        "notset",
        "noserial",
    }
)
"""What stands alone in place of a serial number; many people configure "deadbeef" for QEMU's disks."""

_PHRASES = (
    "serialnumb",
    "tobefilled",
    "defaultstring",
    "notspecified",
    "notapplicable",
    "notavailable",
    "systemserial",
    "chassisserial",
    "baseboardserial",
    "oemserial",
    "1234567",
    "0123456",
)
_COUNTING = "0123456789abcdef"
_MAX_COUNTER = 4
"""A number of at most so many digits after letters and zeros is a counter, such as "SN: 000001" and "nvme_card12"."""


def shared(kind: FactKind, value: str) -> str:
    """Return why many machines may have this value, or an empty text if it names one machine."""
    match kind:
        case FactKind.SYSTEM_UUID:
            return _shared_uuid(value)
        case FactKind.BOARD_SERIAL:
            return _shared_serial(value)
        case FactKind.NIC | FactKind.WIFI:
            return _shared_address(value)
        case FactKind.DISK:
            return _shared_disk(value)
        case FactKind.GPU:
            return _shared_uuid(value.removeprefix("gpu-"))
        case FactKind.MACHINE_ID:
            return PLACEHOLDER if _few(value, 4) else ""


def dell_service_tag(uuid: str) -> str | None:
    """Return the service tag that a Dell system UUID spells, in upper case; None for another maker's UUID.

    A tag that was never set gives a text with spaces or NULs.
    """
    data = bytes.fromhex(uuid.replace("-", ""))
    if data[:5] != b"LLED\0" or data[7:8] != b"\x10" or data[11:13] != b"\xc0O":
        return None
    return bytes(byte & 0x7F for byte in (data[10], data[5], data[6], data[9], *data[13:])).decode("ascii").upper()


def _shared_uuid(value: str) -> str:
    if value in _UUIDS:
        return PUBLISHED
    digits = value.replace("-", "")
    data = bytes.fromhex(digits)
    if len(set(data)) < 7 or _counts(digits) or _counts(swapped_uuid(value).replace("-", "")) or "deadbeef" in digits:
        return PLACEHOLDER
    if digits.startswith("0" * 20):
        return SPELLS_MAC
    tag = dell_service_tag(value)
    return PLACEHOLDER if tag is not None and not tag.isalnum() else ""


def _shared_serial(text: str) -> str:
    bare = _bare(text)
    if len(bare) < 4 or len(set(bare)) < 3 or bare in _WORDS or any(phrase in bare for phrase in _PHRASES):
        return PLACEHOLDER
    # "No Serial Here", "Default_string", "To.Be.Filled": words without a digit.
    words = [word for word in re.split(r"[\s_.:<>()-]+", text) if word]
    return PLACEHOLDER if len(words) > 1 and all(word.isalpha() for word in words) else ""


def _shared_address(value: str) -> str:
    octets = bytes.fromhex(value.replace(":", ""))
    if len(octets) != 6:  # an InfiniBand port GUID
        return PLACEHOLDER if _few(octets.hex(), 3) else ""
    if value in _ADDRESSES:
        return PUBLISHED
    if value.startswith(_IP_PREFIXES):
        return SPELLS_IP
    if value.startswith(_HYPERVISOR_PREFIXES):
        return HYPERVISOR
    steps = {(after - before) % 256 for before, after in pairwise(octets)}
    unprogrammed = octets[3:] in (b"\0\0\0", b"\xff\xff\xff") or "deadbeef" in octets.hex()
    if _few(octets.hex(), 3) or len(steps) == 1 or unprogrammed:
        return PLACEHOLDER
    return COUNTER if octets[0] & 2 and b"\0\0\0" in octets[1:] else ""


def _shared_disk(value: str) -> str:
    lower = value.lower()
    nvme = NVME_DISK.fullmatch(lower)
    if nvme:
        return _shared_nvme(_text(nvme[1]), _text(nvme[2]))
    if lower.startswith("uuid."):
        return _shared_uuid(lower[5:])
    if lower.startswith("t10."):
        return _shared_t10(value[4:])
    digits = lower[4:]
    if lower.startswith("eui.52540000000000"):  # QEMU numbers the namespaces of every machine from here
        return HYPERVISOR
    return PLACEHOLDER if _few(digits, 4) or _counts(digits) or digits.endswith("0" * 8) else ""


def _shared_nvme(serial: str, model: str) -> str:
    bare, named = _bare(serial), _bare(model)
    rest = bare.removeprefix(named) if named else bare
    if bare in named or (rest != bare and _is_counter(rest)):
        return SPELLS_MODEL
    return _shared_serial(serial) or (COUNTER if _is_counter(bare) else "")


def _shared_t10(text: str) -> str:
    """Return the flaw of a T10 text, which ends in a serial number of its own or in none.

    "ATA QEMU HARDDISK QM00001" and "QEMU drive-scsi0" number the disks within one machine; the next machine has the
    same.
    """
    last = text.split()[-1] if text.split() else ""
    digits = sum(character.isdigit() for character in last)
    if len(last) < 6 or digits < 3 or _is_counter(_bare(last)):
        return COUNTER
    return _shared_serial(last)


def _is_counter(bare: str) -> bool:
    return re.fullmatch(rf"[a-z]*0*[0-9]{{0,{_MAX_COUNTER}}}", bare) is not None and not bare.isalpha()


def _counts(digits: str) -> bool:
    """Return whether eight digits in a row count up or down, or six bytes do."""
    runs = [digits[at : at + 8] for at in range(len(digits) - 7)]
    if any(run in _COUNTING or run[::-1] in _COUNTING for run in runs):
        return True
    data = bytes.fromhex(digits)
    steps = [(after - before) % 256 for before, after in pairwise(data)]
    return any(set(steps[at : at + 5]) in ({1}, {255}) for at in range(len(steps) - 4))


def _few(digits: str, least: int) -> bool:
    """Return whether a hexadecimal number is a filler: all 0, all f, 0100000000000000, abababab..."""
    return len(set(digits)) < least


def _bare(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.lower())


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("ascii", "replace").strip(" \0")
