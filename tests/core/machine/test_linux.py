"""The Linux reader over recorded machines, and over files that are not what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.core.machine.trees import plant, planted
from tests.counting import PROCESS, calls_of
from tiktrue_keys.core.machine import linux, read_facts
from tiktrue_keys.core.machine.facts import FactKind, MachineFacts

UUID = FactKind.SYSTEM_UUID
BOARD = FactKind.BOARD_SERIAL
NIC = FactKind.NIC
DISK = FactKind.DISK
MACHINE_ID = FactKind.MACHINE_ID


def told(facts: MachineFacts) -> dict[FactKind, tuple[str, ...]]:
    """The values of each kind that is there, the preferred first."""
    return {kind: facts.sealable(kind) for kind in FactKind if facts.sealable(kind)}


def test_a_server_shows_five_facts_and_prefers_what_is_built_in(tmp_path: Path) -> None:
    facts = linux.facts_under(planted(tmp_path, "server"))
    assert told(facts) == {
        UUID: ("4c4c4544-0042-3510-8052-c7c04f4e3332",),
        BOARD: (".7B5RN32.CNFCP0098U00J1.",),
        NIC: ("0c:42:a1:5e:77:18", "b0:7b:25:9c:11:40", "b0:7b:25:9c:11:41"),
        DISK: (
            "eui.00000000010000004ce00018dd8c9084",
            "naa.55cd2e4151d2f9a7",
            "naa.600a098038314a4e4f5d4c7137364d38",
        ),
        MACHINE_ID: ("7d0f5a3b9c2e4f61a8b7c6d5e4f30912",),
    }
    assert facts.platform == "linux"
    assert facts.unreadable == ()


def test_a_bond_shows_each_members_own_address(tmp_path: Path) -> None:
    facts = linux.facts_under(planted(tmp_path, "server"))
    sources = {fact.value: fact.source for fact in facts.facts if fact.kind is NIC}
    assert sources["b0:7b:25:9c:11:41"] == "/sys/class/net/eno2/bonding_slave/perm_hwaddr"


def test_a_cloud_instance_has_a_uuid_a_virtio_nic_and_a_volume(tmp_path: Path) -> None:
    assert told(linux.facts_under(planted(tmp_path, "cloud"))) == {
        UUID: ("ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11",),
        NIC: ("06:9b:7e:41:0c:8f",),
        DISK: (f"nvme.1d0f-{b'vol0a2b3c4d5e6f78'.hex()}-{b'Amazon Elastic Block Store'.hex()}-00000001",),
        MACHINE_ID: ("ec2a5f8d1b9047c3b6e2d4f7089a1c35",),
    }


def test_a_laptop_prefers_its_own_port_to_wifi_and_to_the_dock(tmp_path: Path) -> None:
    facts = linux.facts_under(planted(tmp_path, "laptop"))
    assert facts.sealable(NIC) == (
        "98:fa:9b:3d:60:12",  # built in
        "3c:58:c2:a7:19:e6",  # Wi-Fi
        "00:e0:4c:97:b2:3a",  # the dock, by USB
        "64:4b:f0:13:58:d2",  # the dock, by Thunderbolt
    )


def test_a_laptop_leaves_a_stick_out_and_puts_a_usb_disk_last(tmp_path: Path) -> None:
    facts = linux.facts_under(planted(tmp_path, "laptop"))
    assert facts.sealable(DISK) == ("eui.0025388b91d3f7a6", "t10.WD Elements 25A2 WX31A89K2PN4")


def test_a_raspberry_pi_has_its_serial_in_the_device_tree(tmp_path: Path) -> None:
    facts = linux.facts_under(planted(tmp_path, "raspberry"))
    assert told(facts) == {
        BOARD: ("10000000a3c5f719",),
        NIC: ("dc:a6:32:4e:91:b7",),
        MACHINE_ID: ("5e6f708192a3b4c5d6e7f8091a2b3c4d",),
    }


def test_a_container_has_nothing(tmp_path: Path) -> None:
    assert linux.facts_under(planted(tmp_path, "container")).facts == ()


def test_an_empty_root_has_nothing(tmp_path: Path) -> None:
    assert linux.facts_under(tmp_path) == MachineFacts("linux", (), ())


def test_plain_folders_do_in_place_of_the_links_of_sysfs(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/net/eth0/device/\n"
        "/sys/class/net/eth0/address: 3c:58:c2:a7:19:e6\n"
        "/sys/class/net/eth0/addr_assign_type: 0\n"
        "/sys/class/net/eth1/device -> ../../../devices/not-there\n"
        "/sys/class/net/eth1/address: 3c:58:c2:a7:19:e7\n"
        "/sys/class/net/eth1/addr_assign_type: 0\n"
        "/sys/class/net/lonely/address: 3c:58:c2:a7:19:e8\n"
        "/sys/class/net/lonely/addr_assign_type: 0\n"
        "/sys/class/block/sda/device/wwid: naa.55cd2e4151d2f9a7\n",
    )
    facts = linux.facts_under(tmp_path)
    assert facts.values(NIC) == ("3c:58:c2:a7:19:e6", "3c:58:c2:a7:19:e7")
    assert facts.values(DISK) == ("naa.55cd2e4151d2f9a7",)


@pytest.mark.parametrize("name", ["loop0", "ram1", "zram0", "dm-3", "md127", "nbd0", "sr0", "fd0"])
def test_what_is_no_disk_of_its_own_is_absent(tmp_path: Path, name: str) -> None:
    plant(tmp_path, f"/sys/class/block/{name}/wwid: naa.55cd2e4151d2f9a7\n")
    assert linux.facts_under(tmp_path).facts == ()


@pytest.mark.parametrize("assigned", ["1", "2", "3", "", "permanent"])
def test_an_address_that_is_not_permanent_is_absent(tmp_path: Path, assigned: str) -> None:
    plant(
        tmp_path,
        "/sys/class/net/eth0/device/\n/sys/class/net/eth0/address: 3c:58:c2:a7:19:e6\n"
        f"/sys/class/net/eth0/addr_assign_type: {assigned}\n",
    )
    assert linux.facts_under(tmp_path).facts == ()


def test_a_member_of_a_bond_without_a_permanent_address_is_absent(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/net/eth0/device/\n/sys/class/net/eth0/bonding_slave/\n"
        "/sys/class/net/eth0/address: 3c:58:c2:a7:19:e6\n/sys/class/net/eth0/addr_assign_type: 0\n",
    )
    assert linux.facts_under(tmp_path).facts == ()


def test_a_board_whose_uuid_spells_its_address_has_one_fact(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/dmi/id/product_uuid: 03c00218-044d-053f-d506-000700080009\n"
        "/sys/class/dmi/id/board_serial: Default string\n"
        "/sys/class/net/eth0/device/\n/sys/class/net/eth0/addr_assign_type: 0\n"
        "/sys/class/net/eth0/address: 18:c0:4d:3f:d5:00\n",
    )
    facts = linux.facts_under(tmp_path)
    assert told(facts) == {UUID: ("03c00218-044d-053f-d506-000700080009",)}
    assert facts.tried(NIC) == ("18:c0:4d:3f:d5:00",)
    assert facts.tried(UUID) == ("03c00218-044d-053f-d506-000700080009", "1802c003-4d04-3f05-d506-000700080009")


def test_a_serial_of_the_device_tree_follows_a_placeholder(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/dmi/id/board_serial: None\n/sys/firmware/devicetree/base/serial-number: 10000000a3c5f719\n",
    )
    assert told(linux.facts_under(tmp_path)) == {BOARD: ("10000000a3c5f719",)}


def test_a_radio_shows_the_address_that_its_interface_hides(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/net/wlan0/device/\n/sys/class/net/wlan0/addr_assign_type: 3\n"
        "/sys/class/net/wlan0/address: 6e:f1:42:c0:9d:11\n"
        "/sys/class/ieee80211/phy0/macaddress: 3c:58:c2:a7:19:e6\n"
        "/sys/class/ieee80211/phy1 -> ../../devices/virtual/mac80211_hwsim/hwsim0/ieee80211/phy1\n"
        "/sys/devices/virtual/mac80211_hwsim/hwsim0/ieee80211/phy1/macaddress: 3c:58:c2:a7:19:e7\n",
    )
    assert told(linux.facts_under(tmp_path)) == {FactKind.WIFI: ("3c:58:c2:a7:19:e6",)}


def test_a_virtual_function_is_tried_and_never_sealed_to(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/net/eth0v0/device/physfn/\n/sys/class/net/eth0v0/addr_assign_type: 0\n"
        "/sys/class/net/eth0v0/address: 3c:58:c2:a7:19:e6\n",
    )
    facts = linux.facts_under(tmp_path)
    assert (told(facts), facts.tried(NIC)) == ({}, ("3c:58:c2:a7:19:e6",))


GPUS = "/proc/driver/nvidia/gpus"
GPU_FILES = (
    f"{GPUS}/0000:01:00.0/information: Model: A100\\nGPU UUID: \t GPU-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11\n"
    f"{GPUS}/0000:02:00.0/information: GPU UUID: \t GPU-????????-????-????-????-????????????\n"
)


@pytest.mark.parametrize(
    ("hypervisor", "sealed"),
    [
        ("", ("gpu-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11",)),
        ("/proc/cpuinfo: flags\t\t: fpu vme pae\n", ("gpu-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11",)),
        ("/proc/cpuinfo: flags\t\t: fpu hypervisor pae\n", ()),
        ("/sys/hypervisor/type: xen\n", ()),
        ("/sys/class/dmi/id/product_name: Google Compute Engine\n", ()),
        ("/sys/class/dmi/id/sys_vendor: QEMU\n", ()),
    ],
)
def test_a_gpu_is_a_fact_where_no_hypervisor_is(tmp_path: Path, hypervisor: str, sealed: tuple[str, ...]) -> None:
    plant(tmp_path, GPU_FILES + hypervisor)
    facts = linux.facts_under(tmp_path)
    assert facts.sealable(FactKind.GPU) == sealed
    assert facts.tried(FactKind.GPU) == ("gpu-6f0e8b2c-5b7c-4a1e-9d30-ec2f1a904d11",)


def test_a_hypervisors_serial_of_its_own_stays(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "/sys/class/dmi/id/product_uuid: 421d3f6a-0b5e-7c91-a2b4-c6d8e0f12345\n"
        "/sys/class/dmi/id/board_serial: 0000-0002-8585-1290-4471-0283-64\n",
    )
    assert linux.facts_under(tmp_path).values(BOARD) == ("0000-0002-8585-1290-4471-0283-64",)


def test_the_product_serial_never_stands_in_for_the_boards(tmp_path: Path) -> None:
    plant(tmp_path, "/sys/class/dmi/id/board_serial: None\n/sys/class/dmi/id/product_serial: 7B5RN32\n")
    assert told(linux.facts_under(tmp_path)) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe4c4c4544-0042-3510-8052-c7c04f4e3332\n",
        b"7B5RN32\xe9\n",
        "7B5RN32\u00e9\n".encode(),
        b"7B5\0RN32\n",
        b"7B5\x1b[31mRN32\n",
        b"7B5RN32" * 200,
        b"",
        b"\n",
        bytes(range(256)),
    ],
    ids=["utf-16", "latin-1", "not ASCII", "NUL", "escape", "oversize", "empty", "blank", "binary"],
)
def test_foreign_bytes_are_absent(tmp_path: Path, content: bytes) -> None:
    for path in ("sys/class/dmi/id/board_serial", "sys/class/dmi/id/product_uuid", "etc/machine-id"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert linux.facts_under(tmp_path) == MachineFacts("linux", (), ())


def test_a_pipe_in_a_files_place_does_not_hold_the_reader_up(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/machine-id")
    assert linux.facts_under(tmp_path).facts == ()


def test_a_folder_in_a_files_place_is_absent(tmp_path: Path) -> None:
    (tmp_path / "etc/machine-id").mkdir(parents=True)
    assert linux.facts_under(tmp_path) == MachineFacts("linux", (), ())


def test_a_file_that_fails_while_it_is_read_is_absent(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").symlink_to("/proc/self/mem")  # opens, and has nothing at its start: EIO
    assert linux.facts_under(tmp_path) == MachineFacts("linux", (), ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file; the made-up machines cover this with nobody")
def test_unreadable_is_absent_and_named(tmp_path: Path) -> None:
    planted(tmp_path, "cloud")
    (tmp_path / "sys/class/dmi/id/product_uuid").chmod(0)
    (tmp_path / "sys/class/net").chmod(0)
    facts = linux.facts_under(tmp_path)
    (tmp_path / "sys/class/net").chmod(0o755)
    assert set(told(facts)) == {DISK, MACHINE_ID}
    assert facts.unreadable == ("/sys/class/dmi/id/product_uuid", "/sys/class/net")


def test_two_hundred_nics_and_disks_are_read_alike_every_time(tmp_path: Path) -> None:
    for number in range(200):
        plant(
            tmp_path,
            f"/sys/class/net/eth{number}/device/\n/sys/class/net/eth{number}/addr_assign_type: 0\n"
            f"/sys/class/net/eth{number}/address: 3c:58:c2:a7:19:{number:02x}\n"
            f"/sys/class/block/sd{number}/wwid: naa.55cd2e4151d2{number:04x}\n",
        )
    facts = linux.facts_under(tmp_path)
    assert len(facts.values(NIC)) == len(facts.values(DISK)) == 200
    assert facts == linux.facts_under(tmp_path)


def test_this_machine_is_read_from_files_alone() -> None:
    assert calls_of(read_facts)[PROCESS] == 0
