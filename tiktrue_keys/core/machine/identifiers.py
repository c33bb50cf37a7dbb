"""One spelling for each kind of identifier. Shared by all platforms.

Come here when a value is not recognised. Each function takes the text that the firmware or the kernel gave and returns
the normalised value, or None for a text that is not an identifier of that kind. Whether a value names one machine is
decided in shared_values.py. The functions are pure.
"""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})+")
_HEX_DISK = re.compile(r"(?:naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})|eui\.(?:[0-9a-f]{16}|[0-9a-f]{24}|[0-9a-f]{32}))")
NVME_DISK = re.compile(r"nvme\.[0-9a-f]{4}-((?:[0-9a-f]{2})+)-((?:[0-9a-f]{2})*)-[0-9a-f]{8}")
"""The kernel's own identifier of an NVMe disk: vendor, serial number and model in hexadecimal digits, namespace."""

_MAX_SERIAL = 128
_MAX_DISK = 256
_ETHERNET_BYTES = 6
_INFINIBAND_BYTES = 20


def system_uuid(text: str) -> str | None:
    """Return a SMBIOS system UUID as `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case."""
    spelled = text.strip().lower().strip("{}")
    return _dashed(spelled.replace("-", "")) if _UUID.fullmatch(spelled) else None


def swapped_uuid(value: str) -> str:
    """Return a UUID in the other byte order of SMBIOS: its first three fields reversed (DSP0134, section 7.2.1).

    A text that is not a UUID comes back as it is.
    """
    if not _UUID.fullmatch(value):
        return value
    digits = value.replace("-", "")
    return _dashed(_reversed(digits[:8]) + _reversed(digits[8:12]) + _reversed(digits[12:16]) + digits[16:])


def board_serial(text: str) -> str | None:
    """Return a board's serial number with white space collapsed and letters unchanged."""
    value = " ".join(text.split())
    return value if value and value.isascii() and value.isprintable() and len(value) <= _MAX_SERIAL else None


def nic_address(text: str) -> str | None:
    """Return a permanent hardware address as `aa:bb:cc:dd:ee:ff`.

    Of InfiniBand's 20 bytes only the last 8, the port GUID, are returned: the first ones hold a queue number that
    changes. The locally administered bit is ignored, because clouds set it.
    """
    spelled = text.strip().lower().replace("-", ":")
    if not _ADDRESS.fullmatch(spelled):
        return None
    octets = spelled.split(":")
    if len(octets) == _INFINIBAND_BYTES:
        octets = octets[-8:]
    elif len(octets) != _ETHERNET_BYTES or int(octets[0], 16) & 1:  # group addresses, broadcast among them
        return None
    return ":".join(octets)


def disk_identifier(text: str) -> str | None:
    """Return a disk's world-wide identifier as the kernel spells it: `naa.`, `eui.`, `uuid.`, `nvme.` or `t10.` ..."""
    value = " ".join(text.split())
    if not (value.isascii() and value.isprintable()) or len(value) > _MAX_DISK:
        return None
    lower = value.lower()
    if _HEX_DISK.fullmatch(lower) or NVME_DISK.fullmatch(lower):
        return lower
    if lower.startswith("uuid."):
        uuid = system_uuid(lower[5:])
        return None if uuid is None else f"uuid.{uuid}"
    return value if lower.startswith("t10.") and len(value) > len("t10.") else None


def gpu_uuid(text: str) -> str | None:
    """Return the UUID of an NVIDIA GPU as `gpu-xxxxxxxx-...`; None while the driver shows question marks."""
    spelled = text.strip().lower()
    uuid = system_uuid(spelled.removeprefix("gpu-")) if spelled.startswith("gpu-") else None
    return None if uuid is None else f"gpu-{uuid}"


def machine_id(text: str) -> str | None:
    """Return the content of /etc/machine-id or a Windows MachineGuid as 32 hex digits; None for "uninitialized"."""
    value = text.strip().lower().replace("-", "")
    return value if _MACHINE_ID.fullmatch(value) else None


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _reversed(digits: str) -> str:
    return bytes.fromhex(digits)[::-1].hex()
