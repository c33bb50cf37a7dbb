"""The Windows reader over recorded output of its one command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.core.machine.trees import RECORDED
from tiktrue_keys.core.machine import windows
from tiktrue_keys.core.machine.facts import FactKind, MachineFacts

OUTPUT = (RECORDED / "windows.json").read_bytes()


def test_a_windows_machine_shows_five_facts() -> None:
    facts = windows.facts_from(OUTPUT)
    assert facts.platform == "win32"
    assert {kind: facts.preferred(kind) for kind in FactKind} == {
        FactKind.SYSTEM_UUID: ("4c4c4544-0042-3510-8052-c7c04f4e3332",),
        FactKind.BOARD_SERIAL: ("/7B5RN32/CNFCP0098U00J1/",),
        FactKind.NIC: ("b0:7b:25:9c:11:40", "00:e0:4c:97:b2:3a"),
        FactKind.DISK: ("eui.0025388b91d3f7a6", "eui.e8238fa6bf530001001b448b4a6d2f90", "naa.5000c500a1b2c3d4"),
        FactKind.MACHINE_ID: ("7d0f5a3b9c2e4f61a8b7c6d5e4f30912",),
    }


def test_one_command_is_run_by_its_absolute_path() -> None:
    ran: list[Sequence[str]] = []

    def recorded(argv: Sequence[str]) -> bytes:
        ran.append(argv)
        return b"\xef\xbb\xbf" + OUTPUT

    assert windows.read_facts(recorded) == windows.facts_from(OUTPUT)
    assert [argv[0] for argv in ran] == [r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"]


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"guid": None, "uuid": None, "board": None, "nics": None, "disks": None},
        {"guid": [], "uuid": {}, "board": 0, "nics": {"PermanentAddress": "B07B259C1140"}, "disks": "eui"},
        {"nics": [None, 1, "B07B259C1140", []], "disks": [{}, {"UniqueId": None}, {"UniqueId": 5}]},
        {"board": "To be filled by O.E.M.", "disks": [{"UniqueId": "0000000000000000"}]},
    ],
)
def test_a_report_of_another_shape_is_no_facts(report: dict[str, Any]) -> None:
    assert windows.facts_from(json.dumps(report).encode()) == MachineFacts("win32", ())


@pytest.mark.parametrize("output", [b"", b"[]", b"null", b"{", b"\xff\xfe{}", b"[" * 100_000])
def test_malformed_output_is_no_facts(output: bytes) -> None:
    assert windows.facts_from(output) == MachineFacts("win32", ())


def test_a_board_serial_that_repeats_the_uuid_is_no_second_fact() -> None:
    report = {
        "uuid": "421D3F6A-0B5E-7C91-A2B4-C6D8E0F12345",
        "board": "VMware-42 1d 3f 6a 0b 5e 7c 91-a2 b4 c6 d8 e0 f1 23 45",
    }
    facts = windows.facts_from(json.dumps(report).encode())
    assert [fact.kind for fact in facts.facts] == [FactKind.SYSTEM_UUID]
