"""Which reader a platform gets, and what reading the facts must not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tiktrue_keys.core import machine
from tiktrue_keys.core.machine import darwin, linux


@pytest.mark.parametrize(
    ("platform", "reader"),
    [
        ("linux", linux.read_facts),
        ("darwin", darwin.read_facts),
        ("freebsd14", linux.read_facts),
    ],
)
def test_each_platform_has_its_reader(platform: str, reader: object) -> None:
    assert machine._reader(platform) is reader


def test_read_facts_reads_this_machine() -> None:
    assert machine.read_facts().platform == sys.platform


def test_reading_facts_loads_neither_psutil_nor_cpuinfo() -> None:
    code = (
        "import sys; from tiktrue_keys.core.machine import read_facts; read_facts();"
        "print(sorted({'psutil', 'cpuinfo', 'subprocess', 'plistlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
