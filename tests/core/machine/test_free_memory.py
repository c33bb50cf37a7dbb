"""How much memory is free: on the machine, in a cgroup of either version, and where a file is absent or odd."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiktrue_keys.core.machine.free_memory import free_memory

GIB = 1 << 30
MEMINFO = {"proc/meminfo": "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n"}
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


def group(folder: str, **files: str | int) -> dict[str, str]:
    return {f"{folder}/memory.{name}": f"{content}\n" for name, content in files.items()}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MEMINFO, 8 * GIB),
        ({"proc/meminfo": "MemTotal: 5 kB\nMemAvailable: much\n"}, None),
        (MEMINFO | {"proc/self/cgroup": "0::/a/b\n"}, 8 * GIB),
        (MEMINFO | {"proc/self/cgroup": "0::/a/b\n"} | group(f"{V2}/a/b", max="max", current=GIB), 8 * GIB),
        (MEMINFO | {"proc/self/cgroup": "0::/a/b\n"} | group(f"{V2}/a/b", max=3 * GIB, current=GIB), 2 * GIB),
        (MEMINFO | {"proc/self/cgroup": "0::/a/b\n"} | group(f"{V2}/a", max=3 * GIB, current=GIB), 2 * GIB),
        (MEMINFO | {"proc/self/cgroup": "0::/\n"} | group(V2, max=3 * GIB, current=GIB), 2 * GIB),
        (MEMINFO | {"proc/self/cgroup": "0::/../a\n"} | group(V2, max=3 * GIB, current=GIB), 2 * GIB),
        (
            MEMINFO
            | {"proc/self/cgroup": "0::/a\n"}
            | group(f"{V2}/a", max="max", high=3 * GIB, current=2 * GIB, stat=f"inactive_file {GIB}\nactive_file 7"),
            2 * GIB + 7,
        ),
        (MEMINFO | {"proc/self/cgroup": "0::/a\n"} | group(f"{V2}/a", max=GIB, current=3 * GIB), 0),
        (
            MEMINFO
            | {"proc/self/cgroup": "7:cpu,memory:/a\n1:name=systemd:/a\n0::/\n"}
            | group(f"{V1}/a", limit_in_bytes=4 * GIB, usage_in_bytes=GIB, stat="total_inactive_file 9\ncache 5"),
            3 * GIB + 9,
        ),
    ],
)
def test_the_least_that_limits_this_process(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert free_memory(tmp_path) == expected


def test_this_machine_says_something() -> None:
    free = free_memory()
    assert free is not None
    assert free > 0
