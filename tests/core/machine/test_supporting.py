"""The supporting facts of the machine that the tests run on."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tiktrue_keys.core.machine.supporting import read_supporting


def test_architecture_and_memory_are_told() -> None:
    found = read_supporting()
    assert found["architecture"]
    assert found["memory"].endswith(" GiB")
    assert int(found["memory"].split()[0]) >= 1
    assert int(found["cores"]) >= 1


def test_a_processor_that_cpuinfo_does_not_know_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> dict[str, str]:
        raise Exception("py-cpuinfo currently only works on X86 and some ARM/PPC/S390X/MIPS/RISCV CPUs.")

    monkeypatch.setitem(sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=unknown))
    assert list(read_supporting()) == ["memory"]


def test_what_cpuinfo_cannot_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"brand_raw": "", "count": 4, "arch": "ARM_8"}
    monkeypatch.setitem(sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=lambda: told))
    found = read_supporting()
    assert (found["cores"], found["architecture"]) == ("4", "ARM_8")
    assert "cpu" not in found
