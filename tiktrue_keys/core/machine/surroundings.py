"""Detects containers and storage that will not outlive them. Linux only.

Come here when a host secret is refused because its place would vanish, or `doctor` warns of it. A container that leaves
none of these marks (a Kubernetes pod under containerd) is not recognised; its overlay file system is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MAX_ENVIRONMENT = 256 * 1024
_MAX_MOUNTS = 16 * 1024 * 1024
_OCTAL = re.compile(r"\\([0-7]{3})")
_LAYERED = frozenset({"overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs"})
_VOLATILE = _LAYERED | {"tmpfs", "ramfs", "rootfs", "devtmpfs"}


@dataclass(frozen=True)
class _Mount:
    root: str
    point: str
    kind: str


def container_runtime(root: Path = Path("/")) -> str | None:
    """Return the container runtime that this process runs in ("docker", "podman", "lxc", ...), or None.

    A leftover /.dockerenv on a plain root file system (a virtual machine made from a container image) does not count.
    """
    for entry in _read(root / "proc/1/environ", _MAX_ENVIRONMENT).split(b"\0"):
        if entry.startswith(b"container=") and _word(entry[10:]):
            return _word(entry[10:])
    named = _word(_read(root / "run/systemd/container", 64))
    if named:
        return named
    if os.path.exists(root / "run/.containerenv"):
        return "podman"
    if os.path.exists(root / ".dockerenv") and _foreign_root(_mounts(root)):
        return "docker"
    return None


def volatile_storage(path: Path, root: Path = Path("/")) -> str | None:
    """Return the file system's name if files written at `path` may vanish ("overlay", "tmpfs", ...), else None.

    The nearest existing parent of `path` decides. `root` is where the mount table is read from.
    """
    place = os.path.realpath(path)
    best: _Mount | None = None
    for mount in _mounts(root):
        inside = place == mount.point or place.startswith(mount.point.rstrip("/") + "/")
        # Of two mounts on one point the later one hides the earlier one.
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best.kind if best is not None and best.kind in _VOLATILE else None


def _foreign_root(mounts: list[_Mount]) -> bool:
    top = next((mount for mount in reversed(mounts) if mount.point == "/"), None)
    if top is None:
        return False
    if top.kind == "btrfs":  # plain btrfs roots are subvolumes, too
        return "/subvolumes/" in top.root
    return top.kind in _LAYERED or top.root != "/"


def _mounts(root: Path) -> list[_Mount]:
    """Return the mount table, proc_pid_mountinfo(5): id parent device root point options ... - type source options."""
    text = _read(root / "proc/self/mountinfo", _MAX_MOUNTS).decode("utf-8", "surrogateescape")
    mounts: list[_Mount] = []
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) >= 5:
            mounts.append(_Mount(_unescaped(fields[3]), _unescaped(fields[4]), after.split(" ")[0]))
    return mounts


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _word(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    return text if re.fullmatch(r"[A-Za-z0-9._-]{1,32}", text) else ""


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError:
        return b""
