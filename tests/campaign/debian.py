"""A Debian system in a folder, for images and for a booted systemd: made once by debootstrap(8), or given."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = "DEBIAN_FOLDER"
"""The variable that names a folder which debootstrap has filled with PACKAGES; it is copied, never changed."""
RELEASE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "cron",
    "dbus",
    "openssl",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-sysv",
)


def missing(*programs: str) -> str | None:
    """Why no system can be made here with these programs, or None."""
    if os.geteuid() != 0:
        return "needs root"
    wanted = [*programs, *(() if os.environ.get(FOLDER) else ("debootstrap",))]
    lacking = [program for program in wanted if shutil.which(program) is None]
    return f"needs {' and '.join(lacking)}" if lacking else None


def debian(folder: Path) -> Path:
    """Return a folder with a Debian system, which the caller may change."""
    given = os.environ.get(FOLDER)
    if given:
        subprocess.run(["cp", "-a", "--reflink=auto", given, folder], check=True)
    else:
        words = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(folder)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(folder / waste, ignore_errors=True)
    return folder


def wheels(folder: Path, lock: Path) -> Path:
    """Download what a lock names, once, with the checks of its hashes; return the folder."""
    import sys

    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", lock, "-d", folder], check=True)
    return folder
