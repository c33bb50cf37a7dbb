"""Reads how much memory a process of this machine may still take before the kernel ends one.

Come here before memory is taken whose amount another party chose. Linux only: elsewhere the answer is unknown.

Does not handle: swap, on which a decrypted model does not belong; limits of the process itself (setrlimit(2)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True)
class _Version:
    """Where one version of the cgroup file system has its memory controller, and the names of its files."""

    mount: str
    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]


_V1 = _Version(
    "sys/fs/cgroup/memory",
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
_V2 = _Version("sys/fs/cgroup", ("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"))


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that are free on this machine and within each cgroup of this process; None when unknown.

    Memory that the kernel would give up counts as free, such as cached files. /proc and /sys are those below `root`.
    """
    free = [_available(root), *(_left(folder, version) for folder, version in _groups(root))]
    known = [amount for amount in free if amount is not None]
    return max(0, min(known)) if known else None


def _available(root: Path) -> int | None:
    amount = _fields(root / "proc/meminfo").get("MemAvailable:")
    return None if amount is None else amount * _KIB


def _groups(root: Path) -> Iterator[tuple[Path, _Version]]:
    """Yield the folder of each cgroup that limits this process: its own and those above."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = _V2 if number == "0" and not controllers else _V1
        if version is _V1 and "memory" not in controllers.split(","):
            continue
        mount, parts = root / version.mount, [part for part in path.split("/") if part not in ("", "..")]
        for length in range(len(parts) + 1):
            yield mount.joinpath(*parts[:length]), version


def _left(folder: Path, version: _Version) -> int | None:
    """Return the bytes that a cgroup may still take; None without a limit."""
    limits = [amount for name in version.limits if (amount := _number(folder / name)) is not None]
    used = _number(folder / version.usage)
    if not limits or used is None:
        return None
    fields = _fields(folder / "memory.stat")
    return min(limits) - used + sum(fields.get(name, 0) for name in version.reclaimable)


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file that has a name and a number on each line."""
    lines = [line.split() for line in _text(path).splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def _number(path: Path) -> int | None:
    """Return the number in a file; None for `max`, and without the file."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
