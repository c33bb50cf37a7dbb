"""Supporting facts: processor, memory, architecture. Reported and compared, never in a key.

Kernels and live migration change them. Slow (over a second): only `binding show` and drift reports may call this.
"""

from __future__ import annotations

_GIB = 2**30


def read_supporting() -> dict[str, str]:
    """`cpu`, `cores`, `architecture` and `memory` of this machine, as far as they can be told."""
    return {**_processor(), **_memory()}


def _processor() -> dict[str, str]:
    import cpuinfo

    try:
        found = cpuinfo.get_cpu_info()
    except Exception:  # noqa: BLE001  py-cpuinfo raises bare Exception on processors that it does not know
        return {}
    told = {"cpu": found.get("brand_raw"), "cores": found.get("count"), "architecture": found.get("arch")}
    return {name: str(value) for name, value in told.items() if value}


def _memory() -> dict[str, str]:
    import psutil

    # Whole GiB, rounded up: what a kernel keeps for itself changes with every update.
    return {"memory": f"{-(-psutil.virtual_memory().total // _GIB)} GiB"}
