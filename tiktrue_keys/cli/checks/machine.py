"""Checks of the machine and the process: memory locking, core dumps, swap, container, versions. Mostly Linux."""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from tiktrue_keys.cli.checks.check import Check, good, skipped, warning
from tiktrue_keys.core.machine.surroundings import read_surroundings
from tiktrue_keys.core.secret import memory_is_locked

_PROC = Path("/proc")
_SYS = Path("/sys")


def machine_checks() -> Iterator[Check]:
    """Return every check that needs no keystore."""
    yield _memory_lock()
    yield _core_dumps()
    yield from swap_checks(_PROC / "swaps", _SYS)
    yield _container()
    yield _versions()


def _memory_lock() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft // 1024} KiB"
    if memory_is_locked():
        return good("memory lock", f"secrets stay out of swap (limit {limit})")
    return warning(
        "memory lock", f"secrets cannot be locked into memory (limit {limit}): raise RLIMIT_MEMLOCK (ulimit -l)"
    )


def _core_dumps() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if soft == 0:
        return good("core dumps", "off for this program")
    return warning("core dumps", f"on for this program (limit {soft} bytes): its memory could reach the disk")


def swap_checks(swaps: Path, sys_folder: Path) -> Iterator[Check]:
    """Return a check for each swap area of `swaps` (proc_swaps): encrypted, in memory, or unknown."""
    try:
        lines = swaps.read_text("ascii", "replace").splitlines()[1:]
    except OSError:
        yield skipped("swap", "unknown on this system")
        return
    if not lines:
        yield good("swap", "none")
    for line in lines:
        device = line.split()[0]
        if _stays_in_memory(device) or is_encrypted(device, sys_folder):
            yield good("swap", f"{device} is encrypted or in memory")
        else:
            yield warning("swap", f"{device} is not known to be encrypted: plaintext of models may reach it")


def _stays_in_memory(device: str) -> bool:
    return re.fullmatch(r"/dev/zram[0-9]+", device) is not None


def is_encrypted(device: str, sys_folder: Path) -> bool:
    """Return whether a block device is dm-crypt: its device-mapper id starts with CRYPT-."""
    name = os.path.basename(os.path.realpath(device))
    try:
        return (sys_folder / "block" / name / "dm/uuid").read_text("ascii", "replace").startswith("CRYPT-")
    except OSError:
        return False


def _container() -> Check:
    return good("container", read_surroundings().name or "none")


def _versions() -> Check:
    import sqlite3

    import cryptography
    from cryptography.hazmat.backends.openssl.backend import backend

    text = (
        f"Python {platform.python_version()}, cryptography {cryptography.__version__},"
        f" {backend.openssl_version_text()}, SQLite {sqlite3.sqlite_version}"
    )
    return good("versions", text)
