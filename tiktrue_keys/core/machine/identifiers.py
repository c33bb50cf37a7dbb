"""Which texts name one machine, and their one spelling. Pure; shared by all platforms.

Each function takes the text as firmware or kernel gave it and returns the normalised value, or None for a placeholder:
a text that many machines have in common binds to nothing.
"""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})+")
_HEX_DISK = re.compile(r"(?:naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})|eui\.(?:[0-9a-f]{16}|[0-9a-f]{24}|[0-9a-f]{32}))")
_NVME_DISK = re.compile(r"nvme\.[0-9a-f]{4}-((?:[0-9a-f]{2})+)-(?:[0-9a-f]{2})*-[0-9a-f]{8}")

_MAX_SERIAL = 128
_MAX_DISK = 256
_ETHERNET_BYTES = 6
_INFINIBAND_BYTES = 20

_SHARED_UUIDS = frozenset(
    {
        "03000200-0400-0500-0006-000700080009",  # AMI's example, in both byte orders
        "00020003-0004-0005-0006-000700080009",
        "4c4c4544-0000-2010-8020-80c04f202020",  # Dell without a service tag
        "12345678-1234-5678-90ab-cddeefaabbcc",
    }
)
_SHARED_ADDRESSES = frozenset(
    {
        "52:54:00:12:34:56",  # every QEMU machine that was given none
        "00:11:22:33:44:55",
        "00:e0:4c:68:00:01",  # USB adapters sold with an unprogrammed address
    }
)
_WORDS = frozenset({"none", "null", "unknown", "empty", "invalid", "default", "undefined", "unspecified", "deadbeef"})
"""Single words in a serial's place; "deadbeef" is what people copy for QEMU's disks."""


def system_uuid(text: str) -> str | None:
    """A SMBIOS system UUID as `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case."""
    found = text.strip().lower().strip("{}")
    if not _UUID.fullmatch(found):
        return None
    digits = found.replace("-", "")
    value = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    # Eighty zero bits and a MAC address: some boards show their NIC again, which is no second fact.
    if value in _SHARED_UUIDS or digits.startswith("0" * 20) or _few_digits(digits, 4):
        return None
    return value


def board_serial(text: str) -> str | None:
    """A board's serial number, white space collapsed, letters as they are.

    A hypervisor's text ("0000-0002-8585-...", "Board-GoogleCloud-...") stays when it differs between its machines;
    `repeats_uuid` sorts out the ones that are the system UUID in another spelling.
    """
    value = " ".join(text.split())
    if not (value.isascii() and value.isprintable()) or len(value) > _MAX_SERIAL or _shared_serial(value):
        return None
    return value


def repeats_uuid(serial: str, uuid: str) -> bool:
    """Whether a serial number only spells the system UUID, in either byte order of SMBIOS (VMware, Google, EC2, KVM).

    One number under two names would let "any one fact may have changed" be met by that number alone.
    """
    digits = uuid.replace("-", "")
    swapped = _swapped(digits[:8]) + _swapped(digits[8:12]) + _swapped(digits[12:16]) + digits[16:]
    bare = re.sub(r"[^0-9a-f]", "", serial.lower())
    return digits in bare or swapped in bare


def nic_address(text: str) -> str | None:
    """A permanent hardware address as `aa:bb:cc:dd:ee:ff`; of InfiniBand's 20 bytes the last 8, the port GUID.

    InfiniBand's first bytes hold a queue number that changes. The locally administered bit does not matter: clouds
    set it.
    """
    found = text.strip().lower().replace("-", ":")
    if not _ADDRESS.fullmatch(found):
        return None
    octets = found.split(":")
    if len(octets) == _INFINIBAND_BYTES:
        octets = octets[-8:]
    elif len(octets) != _ETHERNET_BYTES or int(octets[0], 16) & 1:  # group addresses, broadcast among them
        return None
    value = ":".join(octets)
    return None if value in _SHARED_ADDRESSES or _few_digits("".join(octets), 3) else value


def disk_identifier(text: str) -> str | None:
    """A disk's world-wide identifier as the kernel spells it: `naa.`, `eui.`, `uuid.`, `nvme.` or `t10.` and more."""
    value = " ".join(text.split())
    if not (value.isascii() and value.isprintable()) or len(value) > _MAX_DISK:
        return None
    lower = value.lower()
    if _HEX_DISK.fullmatch(lower):
        # QEMU numbers the namespaces of every machine eui.5254000000000001 and so on.
        shared = _few_digits(lower[4:], 4) or lower.startswith("eui.52540000000000")
        return None if shared else lower
    if lower.startswith("uuid."):
        uuid = system_uuid(lower[5:])
        return None if uuid is None else f"uuid.{uuid}"
    nvme = _NVME_DISK.fullmatch(lower)
    if nvme:
        serial = bytes.fromhex(nvme[1]).decode("ascii", "replace").strip(" \0")
        return None if _shared_serial(serial) else lower
    if lower.startswith("t10."):
        return value if _serial_at_end(value[4:]) else None
    return None


def machine_id(text: str) -> str | None:
    """The content of /etc/machine-id as 32 hex digits; "uninitialized" is None."""
    value = text.strip().lower().replace("-", "")
    return None if not _MACHINE_ID.fullmatch(value) or _few_digits(value, 4) else value


def _few_digits(digits: str, least: int) -> bool:
    """Whether a hexadecimal number is a filler: all 0, all f, 0100000000000000, abababab..."""
    return len(set(digits)) < least


def _shared_serial(text: str) -> bool:
    bare = re.sub(r"[^0-9a-z]", "", text.lower())
    if len(bare) < 4 or len(set(bare)) < 3 or bare in _WORDS or "123456789" in bare or "serialnumber" in bare:
        return True
    # A sentence: "To be filled by O.E.M.", "Not Specified", "Default string".
    return " " in text and not any(character.isdigit() for character in text)


def _serial_at_end(text: str) -> bool:
    """Whether a T10 text ends in a serial number that is the disk's own.

    "ATA QEMU HARDDISK QM00001" and "QEMU drive-scsi0" number the disks of one machine; the next machine has the same.
    """
    last = text.split()[-1] if text.split() else ""
    digits = sum(character.isdigit() for character in last)
    return not _shared_serial(last) and len(last) >= 6 and digits >= 3 and not re.fullmatch(r"QM[0-9]{5}", last)


def _swapped(digits: str) -> str:
    return bytes.fromhex(digits)[::-1].hex()
