"""File systems of our own: a mount namespace that ends with the process, so that nothing stays mounted."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
MEGABYTE = 1 << 20
SIZES = {"ext4": 48 * MEGABYTE, "xfs": 320 * MEGABYTE}
_MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"], "xfs": ["mkfs.xfs", "-q", "-f"]}


def skip_reason() -> str | None:
    """Why nothing can be mounted here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "file systems of one's own need Linux and root"
    if shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
        return "file systems of one's own need mkfs.ext4 and loop devices"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "mounts are not allowed here"


def kinds() -> tuple[str, ...]:
    """The kinds of disk file system that can be made here."""
    return tuple(kind for kind in _MAKE if shutil.which(f"mkfs.{kind}"))


def enter() -> None:
    """Give this process mounts of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run(["mount", "--make-rprivate", "/"])


def make_image(image: Path, kind: str, size: int | None = None) -> None:
    """An empty file system in a file."""
    with open(image, "wb") as file:
        file.truncate(size or SIZES[kind])
    run([*_MAKE[kind], str(image)])


def mount_image(image: Path, place: Path) -> None:
    """Mount it by a loop device that goes with the mount."""
    run(["mount", "-o", "loop", str(image), str(place)])


def mount_memory(place: Path, size: int) -> None:
    """A tmpfs of that many bytes."""
    run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "small", str(place)])


def unmount(place: Path) -> None:
    """Take it away."""
    run(["umount", str(place)])


def run(argv: list[str]) -> None:
    """Run a program that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
