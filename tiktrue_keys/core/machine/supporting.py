"""Reads supporting facts: processor, memory, architecture. They are reported and compared, but never part of a key.

Kernels and live migrations change them. Reading takes over a second, so only `binding show` and drift reports call it.
"""

from __future__ import annotations

_GIB = 2**30


def read_supporting() -> dict[str, str]:
    """Return `cpu`, `cores`, `architecture` and `memory` of this machine, as far as they can be determined."""
    return {**_processor(), **_memory()}


def _processor() -> dict[str, str]:
    import cpuinfo

    try:
        info = cpuinfo.get_cpu_info()
    except Exception:  # noqa: BLE001  py-cpuinfo raises a bare Exception for an unknown processor
        return {}
    told = {"cpu": info.get("brand_raw"), "cores": info.get("count"), "architecture": info.get("arch")}
    return {name: str(value) for name, value in told.items() if value}


def _memory() -> dict[str, str]:
    import psutil

    # Whole GiB, rounded up: the amount that a kernel reserves changes with every update.
    return {"memory": f"{-(-psutil.virtual_memory().total // _GIB)} GiB"}
