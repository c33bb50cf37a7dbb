"""Compares an encrypted folder with its manifest: missing, added, moved and changed files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.folder.plain import is_listed
from tiktrue_keys.models.folder.tree import walk
from tiktrue_keys.models.format.detached_header import SUFFIX as DETACHED
from tiktrue_keys.models.format.header import SUFFIX, Header
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, ContainerEntry, Manifest
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.object_requests import objects_below

_SHOWN = 5


@dataclass(frozen=True)
class Differences:
    """How a folder differs from its manifest; relative paths as they lie on disk.

    `unreadable` are the errors of listed files that this user cannot read, which says nothing about what they hold.
    """

    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unreadable: tuple[RefusedError, ...] = ()

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
    """Compare a folder with its manifest: names, what headers say, and with `hashes` the files in clear.

    Opens no key.
    """
    expected = {entry.place: entry for entry in manifest.files}
    there = {relative for relative, _ in walk(folder) if relative != MANIFEST_NAME}
    ids = {entry.file_id for entry in manifest.containers}
    moved: list[str] = []
    changed: list[str] = []
    missing: list[str] = []
    unreadable: list[RefusedError] = []
    for place, entry in expected.items():
        if place not in there:
            missing.append(place)
            continue
        try:
            if isinstance(entry, ContainerEntry):
                found = _header(folder / place)
                if found is None or not manifest.listed(entry).fits_header(found):
                    elsewhere = found is not None and found.file_id in ids - {entry.file_id}
                    (moved if elsewhere else changed).append(place)
            elif hashes and not is_listed(folder, entry):
                changed.append(place)
        except RefusedError as error:
            unreadable.append(error)
    added = sorted(there - set(expected))
    renamed = [place for place in added if place.endswith(SUFFIX) and _is_one_of(ids, folder / place)]
    return Differences(
        missing=tuple(missing),
        added=tuple(place for place in added if place not in renamed),
        moved=tuple(moved + renamed),
        changed=tuple(changed),
        unreadable=tuple(unreadable),
    )


def must_be_complete(folder: Place, manifest: Manifest, *, hashes: bool = True) -> None:
    """Raises IntegrityError, which names the missing, added, renamed, swapped or changed files.

    Raises RefusedError when there are none, but a listed file cannot be read. In object storage it finds missing and
    added files only: each file is compared with the manifest when it is opened.
    """
    if isinstance(folder, Path):
        found = differences(folder, manifest, hashes=hashes)
    else:
        found = remote_differences(folder, manifest)
    words = found.sentence()
    if words:
        said = f"{shown(str(folder))} does not match its manifest: {words}"
        raise IntegrityError(said, "restore the folder from a copy")
    if found.unreadable:
        raise found.unreadable[0]


def _header(path: Path) -> Header | None:
    """Return the header of a container, None for another file. Raises RefusedError when this user cannot read it."""
    try:
        return slots_at(str(path)).current.header
    except TikTrueKeysError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return None


def _is_one_of(ids: set[bytes], path: Path) -> bool:
    try:
        header = _header(path)
    except RefusedError:
        return False
    return header is not None and header.file_id in ids


def remote_differences(folder: Url, manifest: Manifest) -> Differences:
    """Return the missing and added objects below `folder`. A container's root is compared when it is opened."""
    there = {str(url).removeprefix(str(folder / "")) for url in objects_below(folder)} - {MANIFEST_NAME}
    wanted = {entry.place for entry in manifest.files}
    beside = {entry.place + DETACHED for entry in manifest.containers}
    return Differences(missing=tuple(sorted(wanted - there)), added=tuple(sorted(there - wanted - beside)))
