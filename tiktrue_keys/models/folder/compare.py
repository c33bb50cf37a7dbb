"""Compares an encrypted folder with its manifest: missing, added, moved and changed files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.folder.plain import sha256_of
from tiktrue_keys.models.folder.tree import walk
from tiktrue_keys.models.format.detached_header import SUFFIX as DETACHED
from tiktrue_keys.models.format.header import SUFFIX
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, ContainerEntry, Manifest
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.object_requests import objects_below

_SHOWN = 5


@dataclass(frozen=True)
class Differences:
    """How a folder differs from its manifest; relative paths as they lie on disk."""

    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Return the differences as a sentence, empty without any."""
        parts = []
        for words, paths in (
            ("missing", self.missing),
            ("not in the manifest", self.added),
            ("renamed or swapped", self.moved),
            ("another file than the manifest lists", self.changed),
        ):
            if paths:
                more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
                parts.append(f"{words}: {', '.join(shown(path) for path in paths[:_SHOWN])}{more}")
        return "; ".join(parts)


def differences(folder: Path, manifest: Manifest, *, hashes: bool = True) -> Differences:
    """Compare a folder with its manifest: names, file ids, and with `hashes` the files in clear. Opens no key."""
    expected = {entry.place: entry for entry in manifest.files}
    there = {relative for relative, _ in walk(folder) if relative != MANIFEST_NAME}
    ids = {entry.file_id for entry in manifest.containers}
    moved: list[str] = []
    changed: list[str] = []
    missing: list[str] = []
    for place, entry in expected.items():
        if place not in there:
            missing.append(place)
        elif isinstance(entry, ContainerEntry):
            found = _file_id(folder / place)
            if found != entry.file_id:
                (moved if found in ids else changed).append(place)
        elif hashes and sha256_of(folder / place) != (entry.length, entry.sha256):
            changed.append(place)
    added = sorted(there - set(expected))
    renamed = [place for place in added if place.endswith(SUFFIX) and _file_id(folder / place) in ids]
    return Differences(
        missing=tuple(missing),
        added=tuple(place for place in added if place not in renamed),
        moved=tuple(moved + renamed),
        changed=tuple(changed),
    )


def must_be_complete(folder: Place, manifest: Manifest, *, hashes: bool = True) -> None:
    """Raises IntegrityError, which names the missing, added, renamed, swapped or changed files.

    In object storage it finds missing and added files only: each file is compared with the manifest when it is opened.
    """
    if isinstance(folder, Path):
        words = differences(folder, manifest, hashes=hashes).sentence()
    else:
        words = remote_differences(folder, manifest).sentence()
    if words:
        said = f"{shown(str(folder))} does not match its manifest: {words}"
        raise IntegrityError(said, "restore the folder from a copy")


def _file_id(path: Path) -> bytes | None:
    try:
        return slots_at(str(path)).current.header.file_id
    except TikTrueKeysError:
        return None


def remote_differences(folder: Url, manifest: Manifest) -> Differences:
    """Return the missing and added objects below `folder`. A container's root is compared when it is opened."""
    there = {str(url).removeprefix(str(folder / "")) for url in objects_below(folder)} - {MANIFEST_NAME}
    wanted = {entry.place for entry in manifest.files}
    beside = {entry.place + DETACHED for entry in manifest.containers}
    return Differences(missing=tuple(sorted(wanted - there)), added=tuple(sorted(there - wanted - beside)))
