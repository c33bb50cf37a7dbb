"""Creates a folder as a whole or not at all: builds it under a temporary name beside its destination, then renames it.

rename(2) cannot replace a folder that is not empty, so a replaced folder is first moved aside (`.NAME.<8 hex>.old` for
`.NAME.<8 hex>.tmp`). settle/folder.py repairs the state that a kill between the two renames leaves.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.durable import must_have_folder, sync_folder
from tiktrue_keys.core.folder_removal import remove_folder
from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors, own_name, shown
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.folder.tree import walk
from tiktrue_keys.models.storage.claim import claimed_folder

_BUILT, _ASIDE = ".tmp", ".old"


@dataclass(frozen=True)
class FolderPlace:
    """The paths of a folder: its destination, and the temporary name it is built under."""

    destination: Path
    temporary: Path

    @property
    def aside(self) -> Path:
        """Return the path of a replaced folder until it is removed."""
        return self.temporary.with_name(self.temporary.name.removesuffix(_BUILT) + _ASIDE)

    @classmethod
    def beside(cls, destination: Path) -> FolderPlace:
        """Return a place with a fresh temporary name beside `destination`."""
        return cls(destination, destination.with_name(f".{_cut(destination.name)}.{secrets.token_hex(4)}{_BUILT}"))

    @staticmethod
    def is_temporary(name: str, destination: str) -> bool:
        """Return whether `beside` can have chosen this name for `destination`."""
        return re.fullmatch(rf"\.{re.escape(_cut(destination))}\.[0-9a-f]{{8}}{re.escape(_BUILT)}", name) is not None


def _cut(name: str) -> str:
    return name.encode()[:200].decode("utf-8", "ignore")


def must_be_free(destination: Path, replaceable: Mapping[str, FileKind] | None, gate: OutputGate) -> None:
    """Raises RefusedError when `destination` exists.

    With `replaceable` (--force) a folder may exist there if it holds only these relative paths, and the gate lets a
    file of that kind replace each of them.
    """
    if not os.path.lexists(destination):
        return
    if replaceable is None:
        raise RefusedError(
            f"the output {shown(destination)} exists already",
            "pass force=True, or choose another name",
            remedy="output-exists",
        )
    if destination.is_symlink() or not destination.is_dir():
        raise RefusedError(f"{shown(destination)} exists and is not a folder", "choose another name")
    for relative, path in walk(destination):
        if relative not in replaceable:
            raise RefusedError(
                f"{shown(destination)} holds {shown(relative)}, which the new folder does not replace",
                "move it away, or choose another name",
            )
        gate.check(path, replaceable[relative])


@contextmanager
def built_folder(place: FolderPlace) -> Iterator[Path]:
    """Create and claim the temporary folder; remove it after the block unless it was swapped in."""
    must_have_folder(place.destination)
    with foreign_os_errors("the output", place.destination):
        os.mkdir(place.temporary, 0o700)
        os.chmod(place.temporary, 0o700)  # regardless of the umask
    try:
        with claimed_folder(place.temporary):
            yield place.temporary
    finally:
        remove_folder(place.temporary)


def swap_in(place: FolderPlace) -> None:
    """Rename the built folder to its destination. An old folder is moved aside; call `remove_aside` afterwards."""
    parent = place.destination.parent
    with foreign_os_errors("the output", place.destination):
        _sync_below(place.temporary)
        replaces = os.path.lexists(place.destination)
        if replaces:
            os.rename(place.destination, place.aside)
        try:
            os.rename(place.temporary, place.destination)
        except BaseException:
            if replaces:
                with suppress(OSError):
                    os.rename(place.aside, place.destination)
            raise
        sync_folder(parent)


def remove_aside(place: FolderPlace) -> None:
    """Remove the replaced folder. Files that cannot be removed stay under its hidden name."""
    remove_folder(place.aside)


def make_parents(root: Path, relative: str) -> Path:
    """Create the folders of `relative` below `root` (mode 0700); return its path."""
    path = root / relative
    missing = []
    parent = path.parent
    while parent != root and not parent.is_dir():
        missing.append(parent)
        parent = parent.parent
    with foreign_os_errors("the output", own_name(path)):
        for folder in reversed(missing):
            with suppress(FileExistsError):  # created for another file meanwhile
                os.mkdir(folder, 0o700)
            os.chmod(folder, 0o700)  # regardless of the umask and of which thread created it
    return path


def _sync_below(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        sync_folder(folder)
