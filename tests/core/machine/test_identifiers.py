"""One spelling for each identifier, and what is not one."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.machine import identifiers

_NVME = "nvme.8086-50484c4a38343230304a343150304647-494e54454c-00000001"
SPELLINGS: dict[Callable[[str], str | None], dict[str, str | None]] = {
    identifiers.system_uuid: {
        "4C4C4544-0042-3510-8052-C7C04F4E3332": "4c4c4544-0042-3510-8052-c7c04f4e3332",
        "{4C4C4544-0042-3510-8052-C7C04F4E3332}\n": "4c4c4544-0042-3510-8052-c7c04f4e3332",
        "4c4c4544004235108052c7c04f4e3332": "4c4c4544-0042-3510-8052-c7c04f4e3332",
        "Not Settable": None,
        "4c4c4544-0042-3510-8052-c7c04f4e333": None,
        "4c4c4544-0042-3510-8052-c7c04f4e33322": None,
        "": None,
    },
    identifiers.board_serial: {
        ".7B5RN32.CNFCP0098U00J1.": ".7B5RN32.CNFCP0098U00J1.",
        "  PF2X  41QK ": "PF2X 41QK",
        "": None,
        " \t": None,
        "7B5RN32\u00e9": None,
        "7B5RN32." * 16: "7B5RN32." * 16,
        "7B5RN32." * 16 + "1": None,
    },
    identifiers.nic_address: {
        "B0:7B:25:9C:11:40\n": "b0:7b:25:9c:11:40",
        "b0-7b-25-9c-11-40": "b0:7b:25:9c:11:40",
        "06:9b:7e:41:0c:8f": "06:9b:7e:41:0c:8f",
        "80:00:02:08:fe:80:00:00:00:00:00:00:0c:42:a1:03:00:5e:77:18": "0c:42:a1:03:00:5e:77:18",
        "ff:ff:ff:ff:ff:ff": None,
        "01:00:5e:7f:12:34": None,
        "b0:7b:25:9c:11": None,
        "b0:7b:25:9c:11:4g": None,
        "b0:7b:25:9c:11:40:aa": None,
        "0.0.0.0": None,
        "": None,
    },
    identifiers.disk_identifier: {
        "naa.55CD2E4151D2F9A7": "naa.55cd2e4151d2f9a7",
        "naa.600a098038314a4e4f5d4c7137364d38": "naa.600a098038314a4e4f5d4c7137364d38",
        "eui.00000000010000004ce00018dd8c9084": "eui.00000000010000004ce00018dd8c9084",
        "uuid.1f0c4e2a-9b7d-4c3e-8a51-d2e6f7081923": "uuid.1f0c4e2a-9b7d-4c3e-8a51-d2e6f7081923",
        _NVME: _NVME,
        "t10.ATA     WDC WD40EFRX-68N32N0     WD-WCC7K0HA3VZ5": "t10.ATA WDC WD40EFRX-68N32N0 WD-WCC7K0HA3VZ5",
        "naa.55cd2e4151d2f9a": None,
        "uuid.1f0c4e2a": None,
        "nvme.8086--494e54454c-00000001": None,
        "nvme.8086-5-494e54454c-00000001": None,
        "t10.": None,
        "vol-0a2b3c4d5e6f": None,
        "55cd2e4151d2f9a7": None,
        "t10.ATA \u00e9 WD-WCC7K0HA3VZ5": None,
        "t10." + "X" * 236 + " WD-WCC7K0HA3VZ5": "t10." + "X" * 236 + " WD-WCC7K0HA3VZ5",
        "t10." + "X" * 237 + " WD-WCC7K0HA3VZ5": None,
        "": None,
    },
    identifiers.gpu_uuid: {
        "\t GPU-6F0E8B2C-5b7c-4a1e-9d30-ec2f1a904d11": "gpu-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11",
        "GPU-????????-????-????-????-????????????": None,
        "6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11": None,
    },
    identifiers.machine_id: {
        "7d0f5a3b9c2e4f61a8b7c6d5e4f30912\n": "7d0f5a3b9c2e4f61a8b7c6d5e4f30912",
        "7D0F5A3B-9C2E-4F61-A8B7-C6D5E4F30912": "7d0f5a3b9c2e4f61a8b7c6d5e4f30912",
        "uninitialized": None,
        "7d0f5a3b9c2e4f61a8b7c6d5e4f3091": None,
        "7d0f5a3b9c2e4f61a8b7c6d5e4f309123": None,
        "": None,
    },
}


@pytest.mark.parametrize("normalise", SPELLINGS, ids=lambda normalise: normalise.__name__)
def test_one_spelling(normalise: Callable[[str], str | None]) -> None:
    assert {text: normalise(text) for text in SPELLINGS[normalise]} == SPELLINGS[normalise]


@given(st.text(max_size=300))
def test_any_text_is_read_to_a_short_printable_value_that_reads_as_itself(text: str) -> None:
    for normalise in SPELLINGS:
        for spelled in (text, f"t10.{text}", f"naa.{text}"):
            value = normalise(spelled)
            if value is not None:
                assert value.isascii()
                assert value.isprintable()
                assert 0 < len(value) <= 256
                assert normalise(value) == value


@given(st.uuids())
def test_the_other_byte_order_of_a_uuid_is_that_of_smbios(uuid: UUID) -> None:
    assert identifiers.swapped_uuid(str(uuid)) == str(UUID(bytes=uuid.bytes_le))
    assert identifiers.swapped_uuid(identifiers.swapped_uuid(str(uuid))) == str(uuid)


def test_a_text_that_is_not_a_uuid_has_no_other_byte_order() -> None:
    assert identifiers.swapped_uuid("uuid-1") == "uuid-1"
