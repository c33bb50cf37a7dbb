"""Facts that carry one number, which a keystore counts once."""

from __future__ import annotations

import pytest

from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.machine.independence import IN_VIRTUAL_MACHINE, judged

UUID = FactKind.SYSTEM_UUID
BOARD = FactKind.BOARD_SERIAL
NIC = FactKind.NIC
WIFI = FactKind.WIFI
DISK = FactKind.DISK
GPU = FactKind.GPU
MACHINE_ID = FactKind.MACHINE_ID

RANDOM_UUID = "ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11"
VOLUME = f"nvme.1d0f-{b'S4EWNX0R100001'.hex()}-{b'model'.hex()}-00000001"
SAME = {
    "AMI: the address between 02 and 07": (UUID, "03c00218-044d-053f-d506-000700080009", NIC, "18:c0:4d:3f:d5:00"),
    "AMI, the next port": (UUID, "03c00218-044d-053f-d506-000700080009", NIC, "18:c0:4d:3f:d5:01"),
    "AMI, in the other byte order": (UUID, "1802c003-4d04-3f05-d506-000700080009", NIC, "18:c0:4d:3f:d5:00"),
    "AMI, a radio": (UUID, "03c00218-044d-053f-d506-000700080009", WIFI, "18:c0:4d:3f:d5:10"),
    "the last six bytes": (UUID, "31000100-2c00-0200-7ac5-3cecef6a90f4", NIC, "3c:ec:ef:6a:90:f4"),
    "the management controller's, of one maker": (
        UUID,
        "31000100-2c00-0200-7ac5-3cecef6a90f4",
        NIC,
        "3c:ec:ef:12:34:56",
    ),
    "in the first six bytes, reversed": (UUID, "f5906aef-ec3c-0200-7ac5-8f1e55d20b77", NIC, "3c:ec:ef:6a:90:f4"),
    "an EUI-64": (UUID, "31000100-2c00-0200-3cec-effffe6a90f4", NIC, "3c:ec:ef:6a:90:f4"),
    "an EUI-64 with the universal bit": (UUID, "31000100-2c00-0200-3eec-effffe6a90f4", NIC, "3c:ec:ef:6a:90:f4"),
    "a port GUID": (UUID, "31000100-2c00-0200-7ac5-0c42a15e7718", NIC, "0c:42:a1:03:00:5e:77:18"),
    "Dell's service tag": (UUID, "4c4c4544-0051-3010-8044-b7c04f4a3132", BOARD, ".7Q0DJ12.CNFCP0098U00J1."),
    "HP's serial number": (UUID, "31393138-3538-5a43-3135-353130323750", BOARD, "CZ1551027P"),
    "the serial is the UUID": (UUID, RANDOM_UUID, BOARD, "VMware-ec 2f 1a 90 5b 7c 4a 1e-9d 30 6f 0e 8b 2c 4d 11"),
    "the disk is the UUID": (UUID, RANDOM_UUID, DISK, f"uuid.{RANDOM_UUID}"),
    "Raspberry Pi 3": (BOARD, "00000000a3c5f719", NIC, "b8:27:eb:c5:f7:19"),
    "Raspberry Pi 4's radio": (NIC, "dc:a6:32:4e:91:b7", WIFI, "dc:a6:32:4e:91:b8"),
    "a serial that is an address": (BOARD, "MB-3CECEF6A90F4", NIC, "3c:ec:ef:6a:90:f4"),
    "a disk's EUI-64 is an address": (NIC, "0c:42:a1:5e:77:18", DISK, "eui.0c42a1fffe5e7718"),
    "a disk's EUI-64 with the universal bit": (NIC, "0c:42:a1:5e:77:18", DISK, "eui.0e42a1fffe5e7719"),
    "a disk's EUI-64 is a port GUID": (NIC, "0c:42:a1:03:00:5e:77:18", DISK, "eui.0c42a103005e7718"),
    "the disk's serial is the board's": (BOARD, "S4EWNX0R100001", DISK, VOLUME),
}
DIFFERENT = {
    "a random UUID": (UUID, RANDOM_UUID, NIC, "3c:ec:ef:6a:90:f4"),
    "AMI and another maker's card": (UUID, "03c00218-044d-053f-d506-000700080009", NIC, "0c:42:a1:5e:77:18"),
    "another service tag": (UUID, "4c4c4544-0042-3510-8052-c7c04f4e3332", BOARD, ".7B5RN32.CNFCP0098U00J1."),
    "HP with another number on the board": (UUID, "31393138-3538-5a43-3135-353130323750", BOARD, "PGUPV0B9H7J0YB"),
    "a radio of another block": (NIC, "98:fa:9b:3d:60:12", WIFI, "3c:58:c2:a7:19:e6"),
    "17 further on": (NIC, "98:fa:9b:3d:60:12", WIFI, "98:fa:9b:3d:60:23"),
    "Raspberry Pi 4": (BOARD, "10000000a3c5f719", NIC, "dc:a6:32:4e:91:b7"),
    "the management controller's address, and another maker's port": (
        UUID,
        "31000100-2c00-0200-7ac5-3cecef6a90f4",
        NIC,
        "a0:36:9f:5e:77:18",
    ),
    "a disk's EUI-64 of the card's maker": (NIC, "0c:42:a1:5e:77:18", DISK, "eui.0c42a10010ab34cd"),
    "a disk": (BOARD, ".7B5RN32.CNFCP0098U00J1.", DISK, "naa.55cd2e4151d2f9a7"),
    "a volume": (UUID, RANDOM_UUID, DISK, VOLUME),
}


def facts_of(*values: FactKind | str, virtual: bool = False) -> MachineFacts:
    """A machine of alternating kinds and values."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return MachineFacts("linux", tuple(Fact(FactKind(kind), value, "test") for kind, value in pairs), virtual=virtual)


@pytest.mark.parametrize("case", SAME)
def test_two_facts_that_carry_one_number_are_one(case: str) -> None:
    kind, value, other, repeated = SAME[case]
    facts = judged(facts_of(other, repeated, kind, value))
    assert facts.sealable(kind) == (value,)
    assert (facts.sealable(other), facts.values(other)) == ((), (repeated,))
    assert facts.flaw_of(other, repeated) == f"the {kind.value} carries the same number"


@pytest.mark.parametrize("case", DIFFERENT)
def test_two_numbers_are_two_facts(case: str) -> None:
    kind, value, other, second = DIFFERENT[case]
    facts = judged(facts_of(kind, value, other, second))
    assert (facts.sealable(kind), facts.sealable(other)) == ((value,), (second,))


def test_a_card_of_its_own_stays_beside_the_port_that_the_uuid_spells() -> None:
    ami = "03c00218-044d-053f-d506-000700080009"
    facts = judged(facts_of(NIC, "18:c0:4d:3f:d5:00", NIC, "0c:42:a1:5e:77:18", UUID, ami))
    assert (facts.sealable(UUID), facts.sealable(NIC)) == ((ami,), ("0c:42:a1:5e:77:18",))


def test_what_repeats_a_placeholder_is_a_fact_of_its_own() -> None:
    facts = judged(facts_of(UUID, "00000000-0000-0000-0000-ac1f6b8ef312", NIC, "ac:1f:6b:8e:f3:12"))
    assert (facts.sealable(UUID), facts.sealable(NIC)) == ((), ("ac:1f:6b:8e:f3:12",))


def test_a_wireless_interface_is_its_radio() -> None:
    facts = judged(facts_of(NIC, "98:fa:9b:3d:60:12", NIC, "3c:58:c2:a7:19:e6", WIFI, "3c:58:c2:a7:19:e6"))
    assert (facts.sealable(NIC), facts.sealable(WIFI)) == (("98:fa:9b:3d:60:12",), ("3c:58:c2:a7:19:e6",))


def test_a_gpu_is_a_fact_of_hardware_alone() -> None:
    gpu = "gpu-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11"
    assert judged(facts_of(GPU, gpu)).sealable(GPU) == (gpu,)
    virtual = judged(facts_of(GPU, gpu, virtual=True))
    assert (virtual.sealable(GPU), virtual.tried(GPU)) == ((), (gpu,))
    assert virtual.flaw_of(GPU, gpu) == IN_VIRTUAL_MACHINE


def test_a_machine_id_that_repeats_the_uuid_stays() -> None:
    facts = judged(facts_of(UUID, RANDOM_UUID, MACHINE_ID, RANDOM_UUID.replace("-", "")))
    assert facts.sealable(MACHINE_ID) == (RANDOM_UUID.replace("-", ""),)
