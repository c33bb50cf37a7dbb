"""Checks of files and folders: permissions, the host secret's path, free space, leftovers of killed processes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tiktrue_keys.cli.checks.check import Check, failed, good, skipped, warning
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.core.keystore import reserve
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.keystore.host_secret import must_be_kept_private
from tiktrue_keys.core.keystore.permissions import (
    FILE_MODE,
    FOLDER_MODE,
    must_be_private,
    must_lie_outside,
    must_not_be_writable_by_others,
)
from tiktrue_keys.errors import TikTrueKeysError

_LITTLE_SPACE = 64 * 1024 * 1024
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def keystore_folder_checks(folder: Path) -> Iterator[Check]:
    """Return the checks of the keystore's folder and file: owner, modes, free space."""

    def check() -> None:
        must_be_private(folder, FOLDER_MODE)
        must_be_private(folder / FILE_NAME, FILE_MODE)

    yield _sound("keystore permissions", f"{folder} and {FILE_NAME}", check)
    yield _free_space(folder)


def host_secret_checks(path: Path, keystore: Path) -> Iterator[Check]:
    """Return the checks of the host secret: owner, mode, apart from the keystore."""

    def check() -> None:
        must_not_be_writable_by_others(path.parent)
        must_be_kept_private(path)
        must_lie_outside(path, keystore)

    yield _sound("host secret", str(path), check)


def reserve_check(folder: Path, marks: Iterable[Path]) -> Check:
    """Return the check of the space reserved for a revocation on a full disk, beside keystore and marks."""
    reserves = (folder / reserve.FILE_NAME, *(mark.with_suffix(".reserve") for mark in marks if mark.exists()))
    gone = [path for path in reserves if not path.exists()]
    if not gone:
        return good("reserve", "space for a revocation is reserved")
    words = " and ".join(escaped(str(path)) for path in gone)
    return warning(
        "reserve", f"no space is reserved for a revocation on a full disk: {words}; the next operation reserves it"
    )


def leftover_checks(folders: Iterable[Path]) -> Iterator[Check]:
    """Return the temporary files that killed processes left beside containers or in the keystore's folder."""
    found = sorted({path for folder in set(folders) for path in _temporary_files(folder)})
    if not found:
        yield good("leftovers", "no temporary files")
    for path in found:
        yield warning("leftovers", f"{escaped(str(path))}: remove it while no tiktrue-keys process writes there")


def _temporary_files(folder: Path) -> Iterator[Path]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    yield from (folder / name for name in names if _TEMPORARY.fullmatch(name))


def _free_space(folder: Path) -> Check:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return skipped("free space", f"{folder}: {error.strerror}")
    words = f"{free // 2**20} MiB free at {folder}"
    return warning("free space", f"only {words}") if free < _LITTLE_SPACE else good("free space", words)


def _sound(name: str, detail: str, check: Callable[[], None]) -> Check:
    try:
        check()
    except TikTrueKeysError as error:
        return failed(name, error)
    return good(name, detail)
