"""Placeholders and spellings: what firmware, hypervisors and kernels write where an identifier should be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.machine import identifiers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4C4C4544-0042-3510-8052-C7C04F4E3332", "4c4c4544-0042-3510-8052-c7c04f4e3332"),
        ("{4C4C4544-0042-3510-8052-C7C04F4E3332}\n", "4c4c4544-0042-3510-8052-c7c04f4e3332"),
        ("4c4c4544004235108052c7c04f4e3332", "4c4c4544-0042-3510-8052-c7c04f4e3332"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None),
        ("FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE", None),
        ("03000200-0400-0500-0006-000700080009", None),
        ("00020003-0004-0005-0006-000700080009", None),
        ("4c4c4544-0000-2010-8020-80c04f202020", None),
        ("00000000-0000-0000-0000-ac1f6b8ef312", None),
        ("Not Settable", None),
        ("4c4c4544-0042-3510-8052-c7c04f4e333", None),
        ("4c4c4544-0042-3510-8052-c7c04f4e33322", None),
        ("", None),
    ],
)
def test_system_uuid(text: str, value: str | None) -> None:
    assert identifiers.system_uuid(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".7B5RN32.CNFCP0098U00J1.", ".7B5RN32.CNFCP0098U00J1."),
        ("  PF2X  41QK ", "PF2X 41QK"),
        ("C02XYZKLQRST", "C02XYZKLQRST"),
        ("FVHXQWLMNP", "FVHXQWLMNP"),
        ("0000-0002-8585-1290-4471-0283-64", "0000-0002-8585-1290-4471-0283-64"),
        ("", None),
        ("0", None),
        ("00000000", None),
        ("FFFFFFFF", None),
        ("xxxxxxxxxxx", None),
        ("...........", None),
        ("To be filled by O.E.M.", None),
        ("To Be Filled By O.E.M.", None),
        ("Default string", None),
        ("System Serial Number", None),
        ("Base Board Serial Number", None),
        ("Type2 - Board Serial Number", None),
        ("SerialNumber1", None),
        ("Not Specified", None),
        ("Not Applicable", None),
        ("None", None),
        ("N/A", None),
        ("Unknown", None),
        ("INVALID", None),
        ("OEM", None),
        ("NULL", None),
        ("Empty", None),
        ("default", None),
        ("<undefined>", None),
        ("Unspecified", None),
        ("No Serial Here Please", None),
        ("0123456789", None),
        ("123456789", None),
        ("MB-1234567890", None),
        ("BSN12345678901234567", None),
        ("7B5RN32\u00e9", None),
        ("7B5RN32." * 16, "7B5RN32." * 16),
        ("7B5RN32." * 16 + "1", None),
    ],
)
def test_board_serial(text: str, value: str | None) -> None:
    assert identifiers.board_serial(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B0:7B:25:9C:11:40\n", "b0:7b:25:9c:11:40"),
        ("b0-7b-25-9c-11-40", "b0:7b:25:9c:11:40"),
        ("06:9b:7e:41:0c:8f", "06:9b:7e:41:0c:8f"),
        (
            "80:00:02:08:fe:80:00:00:00:00:00:00:0c:42:a1:03:00:5e:77:18",
            "0c:42:a1:03:00:5e:77:18",
        ),
        ("00:00:00:00:00:00", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("01:00:5e:7f:12:34", None),
        ("00:00:00:00:00:01", None),
        ("52:54:00:12:34:56", None),
        ("00:11:22:33:44:55", None),
        ("00:e0:4c:68:00:01", None),
        ("00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00", None),
        ("b0:7b:25:9c:11", None),
        ("b0:7b:25:9c:11:4g", None),
        ("b0:7b:25:9c:11:40:aa", None),
        ("0.0.0.0", None),
        ("", None),
    ],
)
def test_nic_address(text: str, value: str | None) -> None:
    assert identifiers.nic_address(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("naa.55CD2E4151D2F9A7", "naa.55cd2e4151d2f9a7"),
        ("naa.600a098038314a4e4f5d4c7137364d38", "naa.600a098038314a4e4f5d4c7137364d38"),
        ("eui.0025388b91d3f7a6", "eui.0025388b91d3f7a6"),
        ("eui.00000000010000004ce00018dd8c9084", "eui.00000000010000004ce00018dd8c9084"),
        ("uuid.1f0c4e2a-9b7d-4c3e-8a51-d2e6f7081923", "uuid.1f0c4e2a-9b7d-4c3e-8a51-d2e6f7081923"),
        ("nvme.8086-50484c4a3132-494e54454c-00000001", "nvme.8086-50484c4a3132-494e54454c-00000001"),
        (
            "t10.ATA     WDC WD40EFRX-68N32N0                         WD-WCC7K0HA3VZ5",
            "t10.ATA WDC WD40EFRX-68N32N0 WD-WCC7K0HA3VZ5",
        ),
        (
            "t10.ATA     VBOX HARDDISK                           VB5f3d2e1a-8ab3c4d5",
            "t10.ATA VBOX HARDDISK VB5f3d2e1a-8ab3c4d5",
        ),
        ("naa.0000000000000000", None),
        ("naa.5000000000000000", None),
        ("naa.ffffffffffffffff", None),
        ("naa.55cd2e4151d2f9a", None),
        ("eui.0000000000000000", None),
        ("eui.0100000000000000", None),
        ("eui.5254000000000001", None),
        ("uuid.00000000-0000-0000-0000-000000000000", None),
        ("nvme.1b36-20202020-51454d55204e564d65204374726c-00000001", None),
        ("nvme.1b36-6465616462656566-51454d55204e564d65204374726c-00000001", None),
        (
            "nvme.1b36-31323334-51454d55204e564d65204374726c-00000001",
            "nvme.1b36-31323334-51454d55204e564d65204374726c-00000001",
        ),
        ("nvme.1b36-666f6f-51454d55204e564d65204374726c-00000001", None),
        ("nvme.8086--494e54454c-00000001", None),
        ("nvme.8086-5-494e54454c-00000001", None),
        ("t10.ATA     QEMU HARDDISK                           QM00001", None),
        ("t10.QEMU    drive-scsi0", None),
        ("t10.Google  PersistentDisk    persistent-disk-0", None),
        ("t10.Msft    Virtual Disk", None),
        ("t10.USB     Flash Disk      0123456789ABCDEF", None),
        ("t10.", None),
        ("vol-0a2b3c4d5e6f", None),
        ("55cd2e4151d2f9a7", None),
        ("t10.ATA \u00e9 WD-WCC7K0HA3VZ5", None),
        ("t10." + "X" * 236 + " WD-WCC7K0HA3VZ5", "t10." + "X" * 236 + " WD-WCC7K0HA3VZ5"),
        ("t10." + "X" * 237 + " WD-WCC7K0HA3VZ5", None),
        ("", None),
    ],
)
def test_disk_identifier(text: str, value: str | None) -> None:
    assert identifiers.disk_identifier(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7d0f5a3b9c2e4f61a8b7c6d5e4f30912\n", "7d0f5a3b9c2e4f61a8b7c6d5e4f30912"),
        ("7D0F5A3B-9C2E-4F61-A8B7-C6D5E4F30912", "7d0f5a3b9c2e4f61a8b7c6d5e4f30912"),
        ("uninitialized", None),
        ("00000000000000000000000000000000", None),
        ("7d0f5a3b9c2e4f61a8b7c6d5e4f3091", None),
        ("7d0f5a3b9c2e4f61a8b7c6d5e4f309123", None),
        ("", None),
    ],
)
def test_machine_id(text: str, value: str | None) -> None:
    assert identifiers.machine_id(text) == value


@given(st.text(max_size=300))
def test_any_text_is_read_to_a_short_printable_value_that_reads_as_itself(text: str) -> None:
    for normalise in (
        identifiers.system_uuid,
        identifiers.board_serial,
        identifiers.disk_identifier,
        identifiers.machine_id,
    ):
        for spelled in (text, f"t10.{text}", f"naa.{text}"):
            value = normalise(spelled)
            if value is not None:
                assert value.isascii()
                assert value.isprintable()
                assert 0 < len(value) <= 256
                assert normalise(value) == value


@given(st.uuids(), st.booleans())
def test_a_uuid_is_known_again_in_both_byte_orders(uuid: object, swapped: bool) -> None:
    from uuid import UUID

    assert isinstance(uuid, UUID)
    seen = UUID(bytes=uuid.bytes_le) if swapped else uuid
    assert identifiers.repeats_uuid(f"VMware-{seen.bytes.hex(' ')}", str(uuid))
