"""Published placeholders, and what looks like one but is not."""

from __future__ import annotations

import pytest

from tiktrue_keys.core.machine.facts import FactKind
from tiktrue_keys.core.machine.shared_values import (
    COUNTER,
    HYPERVISOR,
    PLACEHOLDER,
    PUBLISHED,
    SPELLS_IP,
    SPELLS_MAC,
    SPELLS_MODEL,
    dell_service_tag,
    shared,
)


def nvme(serial: str, model: str, vendor: str = "1b36") -> str:
    """The kernel's identifier of an NVMe disk."""
    return f"nvme.{vendor}-{serial.encode().hex()}-{model.encode().hex()}-00000001"


PLACEHOLDERS = (
    "0",
    "00000000",
    "FFFFFFFF",
    "xxxxxxxxxxx",
    "NNNNNNN",
    "...........",
    "To be filled by O.E.M.",
    "To Be Filled By O.E.M.",
    "ToBeFilledByOEM",
    "to_be_filled_by_oem",
    "Default string",
    "Default_string",
    "DEFAULT-STRING",
    "default.string",
    "System Serial Number",
    "SystemSerialNumb",
    "Base Board Serial Number",
    "Type2 - Board Serial Number",
    "SerialNumber1",
    "OEM_Serial",
    "Not Specified",
    "NotSpecified",
    "Not Applicable",
    "not-available",
    "None",
    "N/A",
    "n/a",
    "Unknown",
    "Unknow",
    "INVALID",
    "OEM",
    "NULL",
    "Empty",
    "default",
    "<undefined>",
    "Unspecified",
    "EVAL",
    "IATPASS",
    "Tulip Computers",
    "No Serial Here Please",
    "(null string)",
    "0123456789",
    "123456789",
    "1234567",
    "MB-1234567890",
    "SN-1234567890",
    "SYS-1234567890",
    "BSN12345678901234567",
)

FLAWS: dict[FactKind, dict[str, str]] = {
    FactKind.SYSTEM_UUID: {
        "4c4c4544-0042-3510-8052-c7c04f4e3332": "",
        "7c1bd4cc-2f3e-11b2-a85c-d9f3a1b0c244": "",
        "ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11": "",
        "31393138-3538-5a43-3135-353130323750": "",  # HP: a product and a serial number
        "03c00218-044d-053f-d506-000700080009": "",  # AMI with an address: independence.py sees to it
        "00000000-0000-0000-0000-000000000000": PLACEHOLDER,
        "ffffffff-ffff-ffff-ffff-ffffffffffff": PLACEHOLDER,
        "fefefefe-fefe-fefe-fefe-fefefefefefe": PLACEHOLDER,
        "01010101-0101-0101-0101-010101010101": PLACEHOLDER,
        "12345678-1234-5678-90ab-cddeefaabbcc": PLACEHOLDER,
        "78563412-3412-7856-90ab-cddeefaabbcc": PLACEHOLDER,
        "00010203-0405-0607-0809-0a0b0c0d0e0f": PLACEHOLDER,
        "deadbeef-dead-beef-dead-beefdeadbeef": PLACEHOLDER,
        "4c4c4544-0000-2010-8020-80c04f202020": PLACEHOLDER,  # Dell without a service tag
        "03000200-0400-0500-0006-000700080009": PUBLISHED,
        "00020003-0004-0005-0006-000700080009": PUBLISHED,
        "6ab5b300-538d-1014-9fb5-b0684d007b53": PUBLISHED,
        "5c4606fa-192f-453a-b299-7b088c63bb9b": PUBLISHED,
        "00000000-0000-0000-0807-060504030201": PUBLISHED,
        "00000000-0000-0000-0000-ac1f6b8ef312": SPELLS_MAC,
    },
    FactKind.BOARD_SERIAL: dict.fromkeys(
        (".7B5RN32.CNFCP0098U00J1.", "PF2X 41QK", "C02XYZKLQRST", "FVHXQWLMNP", "0000-0002-8585-1290-4471-0283-64"), ""
    )
    | dict.fromkeys(PLACEHOLDERS, PLACEHOLDER),
    FactKind.NIC: {
        "b0:7b:25:9c:11:40": "",
        "06:9b:7e:41:0c:8f": "",
        "52:54:00:6b:3c:58": "",  # libvirt draws the last three bytes
        "00:15:5d:01:02:03": "",
        "0c:42:a1:03:00:5e:77:18": "",
        "42:01:0a:80:00:02": SPELLS_IP,
        "02:42:ac:11:00:02": SPELLS_IP,
        "06:00:ac:10:00:02": SPELLS_IP,
        "0a:58:0a:f4:00:05": SPELLS_IP,
        "52:54:00:12:34:56": HYPERVISOR,
        "52:54:00:12:34:57": HYPERVISOR,
        "02:fc:00:00:00:05": HYPERVISOR,
        "0a:00:27:00:00:00": HYPERVISOR,
        "00:50:56:c0:00:08": HYPERVISOR,
        "5c:bb:f6:9e:ee:fa": PUBLISHED,
        "00:e0:4c:68:00:01": PUBLISHED,
        "00:e0:4c:53:44:58": PUBLISHED,
        "02:80:37:ec:02:00": PUBLISHED,
        "fe:ff:ff:ff:ff:ff": PUBLISHED,
        "00:00:00:00:00:00": PLACEHOLDER,
        "00:00:00:00:00:01": PLACEHOLDER,
        "00:11:22:33:44:55": PLACEHOLDER,
        "00:01:02:03:04:05": PLACEHOLDER,
        "aa:bb:cc:dd:ee:ff": PLACEHOLDER,
        "de:ad:be:ef:00:01": PLACEHOLDER,
        "00:04:4b:00:00:00": PLACEHOLDER,
        "00:00:00:00:00:00:00:00": PLACEHOLDER,
        "02:00:00:00:01:00": COUNTER,
    },
    FactKind.DISK: {
        "naa.55cd2e4151d2f9a7": "",
        "naa.600a098038314a4e4f5d4c7137364d38": "",
        "eui.0025388b91d3f7a6": "",
        "eui.00000000010000004ce00018dd8c9084": "",
        "uuid.1f0c4e2a-9b7d-4c3e-8a51-d2e6f7081923": "",
        nvme("vol0a2b3c4d5e6f78", "Amazon Elastic Block Store", "1d0f"): "",
        nvme("PHLJ842000J41P0FGN", "INTEL SSDPE2KX010T8", "8086"): "",
        "t10.ATA WDC WD40EFRX-68N32N0 WD-WCC7K0HA3VZ5": "",
        "t10.ATA VBOX HARDDISK VB5f3d2e1a-8ab3c4d5": "",
        nvme("nvme_card-pd", "nvme_card-pd", "1ae0"): SPELLS_MODEL,  # Google Cloud: every instance
        nvme("nvme_card", "nvme_card", "1ae0"): SPELLS_MODEL,
        nvme("nvme_card12", "nvme_card12", "1ae0"): SPELLS_MODEL,
        nvme("nvme_card12", "nvme_card", "1ae0"): SPELLS_MODEL,
        nvme("VMware Virtual NVMe Disk 0000", "VMware Virtual NVMe Disk", "15ad"): SPELLS_MODEL,
        nvme("SN: 000001", "MSFT NVMe Accelerator v1.0", "1414"): COUNTER,
        nvme("VMWare NVME_0000", "VMware Virtual NVMe Disk", "15ad"): COUNTER,
        nvme("PHLJ12", "INTEL", "8086"): COUNTER,
        nvme("1234", "QEMU NVMe Ctrl"): COUNTER,
        nvme("    ", "QEMU NVMe Ctrl"): SPELLS_MODEL,
        nvme("deadbeef", "QEMU NVMe Ctrl"): PLACEHOLDER,
        nvme("foo", "QEMU NVMe Ctrl"): PLACEHOLDER,
        "naa.0000000000000000": PLACEHOLDER,
        "naa.5000000000000000": PLACEHOLDER,
        "naa.ffffffffffffffff": PLACEHOLDER,
        "eui.0000000000000000": PLACEHOLDER,
        "eui.0100000000000000": PLACEHOLDER,
        "eui.0026b72800000000": PLACEHOLDER,
        "naa.0123456789abcdef": PLACEHOLDER,
        "eui.5254000000000001": HYPERVISOR,
        "uuid.00000000-0000-0000-0000-000000000000": PLACEHOLDER,
        "t10.ATA QEMU HARDDISK QM00001": COUNTER,
        "t10.QEMU drive-scsi0": COUNTER,
        "t10.Google PersistentDisk persistent-disk-0": COUNTER,
        "t10.Msft Virtual Disk": COUNTER,
        "t10.USB Flash Disk 0123456789ABCDEF": PLACEHOLDER,
    },
    FactKind.GPU: {
        "gpu-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11": "",
        "gpu-00000000-0000-0000-0000-000000000000": PLACEHOLDER,
    },
    FactKind.WIFI: {"3c:58:c2:a7:19:e6": "", "02:00:00:00:01:00": COUNTER},
    FactKind.MACHINE_ID: {"7d0f5a3b9c2e4f61a8b7c6d5e4f30912": "", "00000000000000000000000000000000": PLACEHOLDER},
}


@pytest.mark.parametrize("kind", FactKind)
def test_every_published_case(kind: FactKind) -> None:
    assert {value: shared(kind, value) for value in FLAWS[kind]} == FLAWS[kind]


def test_a_dell_uuid_spells_its_service_tag() -> None:
    assert dell_service_tag("4c4c4544-0051-3010-8044-b7c04f4a3132") == "7Q0DJ12"
    assert dell_service_tag("ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11") is None
