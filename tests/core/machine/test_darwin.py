"""The Mac reader over recorded output of `ioreg -a`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.core.machine.trees import RECORDED
from tiktrue_keys.core.machine import darwin
from tiktrue_keys.core.machine.facts import FactKind, MachineFacts

PLATFORM = (RECORDED / "mac-platform.plist").read_bytes()
ETHERNET = (RECORDED / "mac-ethernet.plist").read_bytes()


def test_a_mac_shows_three_facts_and_prefers_the_built_in_port() -> None:
    facts = darwin.facts_from(PLATFORM, ETHERNET)
    assert facts.sealable(FactKind.SYSTEM_UUID) == ("8a2c61d4-93f7-5b0e-a1c8-4d7e2f60b935",)
    assert facts.sealable(FactKind.BOARD_SERIAL) == ("FVHXQ2WLMN",)
    assert facts.sealable(FactKind.NIC) == ("c8:89:f4:ed:62:11", "00:e0:4c:97:b2:3a")
    assert sum(not fact.flaw for fact in facts.facts) == 4
    assert facts.platform == "darwin"


def test_each_command_is_run_once_by_its_absolute_path() -> None:
    ran: list[Sequence[str]] = []

    def recorded(argv: Sequence[str]) -> bytes:
        ran.append(argv)
        return PLATFORM if "IOPlatformExpertDevice" in argv else ETHERNET

    assert darwin.read_facts(recorded) == darwin.facts_from(PLATFORM, ETHERNET)
    assert [argv[0] for argv in ran] == ["/usr/sbin/ioreg", "/usr/sbin/ioreg"]


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"ioreg: error",
        b"\xff\xfe\x00",
        PLATFORM[:300],
        b"<plist><dict><key>IOPlatformUUID</key></dict></plist>",
        b"<plist><string>text</string></plist>",
        b"<plist><array><string>text</string></array></plist>",
        b"<plist><array><dict><key>IOMACAddress</key><data>!</data></dict></array></plist>",
        b"<plist><array><integer>many</integer></array></plist>",
        b'<!DOCTYPE p [<!ENTITY e "x">]><plist><array><string>&e;</string></array></plist>',
        b"bplist00" + bytes(40),
    ],
)
def test_malformed_output_is_no_facts(output: bytes) -> None:
    assert darwin.facts_from(output, output) == MachineFacts("darwin", ())
