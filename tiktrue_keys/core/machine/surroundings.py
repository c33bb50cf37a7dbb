"""Detects containers, pods and storage that does not outlive them. Linux only; elsewhere nothing is detected.

Come here when a keystore is said to vanish with its container, or `doctor` does not name the container that it runs in.
A runtime that leaves none of these signs is not recognised; the file system of its root usually is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MAX_ENVIRONMENT = 256 * 1024
_MAX_MOUNTS = 16 * 1024 * 1024
_OCTAL = re.compile(r"\\([0-7]{3})")
_LAYERED = frozenset({"overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs"})
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
_EMPTY_DIR = "/kubernetes.io~empty-dir/"  # of the kubelet's folder; it is removed with the pod, whatever disk it is on
_OF_THE_RUNTIME = ("/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log")
"""Mount points that a runtime makes inside a container. On a host they are not mount points, but for the root."""
_SIGNS = (
    ("io.containerd.", "containerd"),
    ("/docker/containers/", "docker"),
    ("/docker/overlay2/", "docker"),
)
_OF_PODMAN = ("/overlay-containers/", "/vfs-containers/", "/containers/storage/")
_SYSTEM_CONTAINERS = frozenset({"lxc", "lxc-libvirt", "openvz", "systemd-nspawn", "wsl"})
"""Containers that are kept like machines: their root lasts."""


@dataclass(frozen=True)
class Mount:
    """One line of the mount table: the folder of the file system that is shown at `point`, its type and source."""

    root: str
    point: str
    kind: str
    read_only: bool = False
    options: str = ""


@dataclass(frozen=True)
class Surroundings:
    """The container that this process runs in, whether it is part of a Kubernetes pod, and its mount table."""

    runtime: str | None = None
    is_pod: bool = False
    mounts: tuple[Mount, ...] = ()

    @property
    def name(self) -> str:
        """What this process runs in, in words; empty outside a container."""
        if self.is_pod:
            return f"a Kubernetes pod ({self.runtime})" if self.runtime else "a Kubernetes pod"
        return f"a container ({self.runtime})" if self.runtime else ""

    def storage_that_vanishes(self, path: str) -> str | None:
        """Return the name of the storage at the real path `path` if files there will vanish, else None.

        The nearest mount decides. What lies on a read-only mount was put there from outside and comes back with it.
        """
        mount = _holding(self.mounts, path)
        if mount is None or mount.read_only:
            return None
        if mount.kind in _LAYERED or mount.kind in _IN_MEMORY:
            return mount.kind
        if _EMPTY_DIR in mount.root + "/":
            return "emptyDir"
        vanishes = self.is_pod or (self.runtime is not None and self.runtime not in _SYSTEM_CONTAINERS)
        return "the root of the container" if vanishes and mount.point == "/" else None

    def is_given(self, path: str) -> bool:
        """Return whether the real path `path` was given to this container: it is on a read-only mount of its own.

        That is how Kubernetes mounts a Secret. Its owner and its mode are those of the cluster: no process of the
        container can change it, and no process outside sees it at this place. Outside a container a read-only mount
        says nothing: a sandboxed service sees the whole machine through one.
        """
        mount = _holding(self.mounts, path)
        return bool(self.name) and mount is not None and mount.read_only and mount.point != "/"

    def folders_below_mount(self, path: str) -> list[str]:
        """Return the folders of the real path `path` below its mount point, the nearest to `path` first."""
        mount = _holding(self.mounts, path)
        point = mount.point if mount is not None else "/"
        return [str(folder) for folder in Path(path).parents if folder != Path(point) and folder.is_relative_to(point)]

    def is_one_mount(self, path: str, other: str) -> bool:
        """Return whether two real paths are on the same mount."""
        return _holding(self.mounts, path) == _holding(self.mounts, other)


def read_surroundings(root: Path = Path("/")) -> Surroundings:
    """Return what this process runs in. `root` is where process files and the mount table are read from."""
    mounts = _mounts(root)
    made = [mount for mount in mounts if mount.point in _OF_THE_RUNTIME]
    is_pod = any("/kubelet/pods/" in mount.root or mount.root.endswith("/etc-hosts") for mount in made)
    return Surroundings(_runtime(root, made, is_pod=is_pod), is_pod, tuple(mounts))


def container_runtime(root: Path = Path("/")) -> str | None:
    """Return the container runtime that this process runs in ("docker", "podman", "lxc", ...), or None.

    A leftover /.dockerenv on a plain root file system (a virtual machine made from a container image) does not count.
    """
    return read_surroundings(root).runtime


def _runtime(root: Path, made: list[Mount], *, is_pod: bool) -> str | None:
    for entry in _read(root / "proc/1/environ", _MAX_ENVIRONMENT).split(b"\0"):
        if entry.startswith(b"container=") and _word(entry[10:]):
            return _word(entry[10:])
    named = _word(_read(root / "run/systemd/container", 64))
    if named:
        return named
    traces = [f"{mount.root} {mount.options}" for mount in made]
    for sign, runtime in _SIGNS:
        if any(sign in trace for trace in traces):
            return runtime
    if any(sign in trace for trace in traces for sign in _OF_PODMAN):
        return "cri-o" if is_pod else "podman"  # they share a storage library
    if os.path.exists(root / "run/.containerenv"):
        return "podman"
    if os.path.exists(root / ".dockerenv") and _foreign_root(made):
        return "docker"
    return None


def _holding(mounts: Iterable[Mount], path: str) -> Mount | None:
    best: Mount | None = None
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        # Of two mounts on one point the later one hides the earlier one.
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _foreign_root(mounts: list[Mount]) -> bool:
    top = next((mount for mount in reversed(mounts) if mount.point == "/"), None)
    if top is None:
        return False
    if top.kind == "btrfs":  # plain btrfs roots are subvolumes, too
        return "/subvolumes/" in top.root
    return top.kind in _LAYERED or top.root != "/"


def _mounts(root: Path) -> list[Mount]:
    """Return the mount table, proc_pid_mountinfo(5): id parent device root point options ... - type source options."""
    text = _read(root / "proc/self/mountinfo", _MAX_MOUNTS).decode("utf-8", "surrogateescape")
    mounts: list[Mount] = []
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if separator and len(fields) >= 6:
            is_read_only = "ro" in fields[5].split(",")
            mounts.append(
                Mount(_unescaped(fields[3]), _unescaped(fields[4]), kind[0], is_read_only, " ".join(kind[2:]))
            )
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
