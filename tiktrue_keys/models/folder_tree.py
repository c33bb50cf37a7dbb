"""Folders on disk: what a source folder has to encrypt, and whether an encrypted folder is what its manifest says."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tiktrue_keys.core.durable import opened_regular, read_capped
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.encrypt import SUFFIX
from tiktrue_keys.models.file_acts import ProgressReport
from tiktrue_keys.models.manifest import (
    MANIFEST_NAME,
    MAX_FILES,
    MAX_MANIFEST,
    ContainerEntry,
    Entry,
    Manifest,
    PlainEntry,
    SignedManifest,
    must_be_relative,
)
from tiktrue_keys.models.places import Place
from tiktrue_keys.models.tracking import slots_at

_CHUNK = 1 << 20
_SHOWN = 5
_MAX_DEPTH = 64


@dataclass(frozen=True)
class Selection:
    """Globs over a file's relative path and its own name: only these, not these, these in clear."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    plain: Sequence[str] = ()


@dataclass(frozen=True)
class SourceFile:
    """A file to encrypt or to copy: its place in the folder, where its bytes are, and how many."""

    relative: str
    path: Path
    size: int
    plain: bool

    @property
    def place(self) -> str:
        """Where it will lie in the encrypted folder."""
        return self.relative if self.plain else self.relative + SUFFIX


@dataclass(frozen=True)
class SourceTree:
    """What a folder has to encrypt, by relative path, and what the selection leaves out."""

    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...]

    @property
    def total(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Differences:
    """How a folder differs from its manifest; relative paths as they lie on disk."""

    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def sentence(self) -> str:
        """In words, or empty when there are none."""
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


def source_tree(folder: Path, selection: Selection) -> SourceTree:
    """Everything in `folder` and below.

    RefusedError for a symbolic link that leads out of the folder or to a folder, for what is neither file nor folder,
    for names that no manifest may have, and when nothing is left to encrypt.
    """
    files, left_out = [], []
    for relative, path in walk(folder):
        if not _selected(relative, selection):
            left_out.append(relative)
            continue
        must_be_relative(relative)
        found = _regular(folder, path)
        files.append(SourceFile(relative, path, found.st_size, _matches(relative, selection.plain)))
    if not files:
        raise RefusedError(f"there is nothing to encrypt in {shown(folder)}")
    if len({MANIFEST_NAME, *(file.place for file in files)}) != len(files) + 1:
        raise RefusedError("two files of the folder would lie at the same place", "leave one out with --exclude")
    return SourceTree(tuple(sorted(files, key=lambda file: file.relative)), tuple(left_out))


def read_manifest(folder: Place) -> SignedManifest:
    """The folder's manifest, not verified. NotFoundError without one: then the folder is none, or was not finished."""
    try:
        data = _manifest_bytes(folder)
    except NotFoundError:
        raise NotFoundError(
            f"{shown(str(folder))} has no {MANIFEST_NAME}", "it is no encrypted folder, or was not finished"
        ) from None
    return SignedManifest.decode(data)


def _manifest_bytes(folder: Place) -> bytes:
    if isinstance(folder, Path):
        return read_capped(folder / MANIFEST_NAME, MAX_MANIFEST, "the manifest")
    from tiktrue_keys.models.storage import read_small

    data = read_small(folder / MANIFEST_NAME, MAX_MANIFEST + 1, "the manifest")
    if data is None:
        raise NotFoundError("there is no manifest")
    return data


def differences(folder: Path, manifest: Manifest, *, hashes: bool = True) -> Differences:
    """Hold a folder against its manifest: names, file ids, and with `hashes` the files in clear. Opens no key."""
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
    """IntegrityError naming what is missing, added, renamed, swapped or changed; in storage, what is missing or added.

    There each file is held against the manifest when it is opened, which nothing leaves out.
    """
    if isinstance(folder, Path):
        words = differences(folder, manifest, hashes=hashes).sentence()
    else:
        from tiktrue_keys.models.remote_folder import remote_differences

        words = remote_differences(folder, manifest).sentence()
    if words:
        said = f"{shown(str(folder))} is not as its manifest says: {words}"
        raise IntegrityError(said, "restore the folder from a copy")


def checked_plain(folder: Path, entry: PlainEntry, report: ProgressReport | None = None) -> None:
    """IntegrityError unless the file in clear is the one that the manifest lists."""
    must_be_listed(entry, *sha256_of(folder / entry.place, report))


def must_be_listed(entry: PlainEntry, length: int, sha256: bytes) -> None:
    """IntegrityError unless a file in clear has the length and the hash that the manifest lists."""
    if (length, sha256) != (entry.length, entry.sha256):
        raise IntegrityError(f"{shown(entry.place)} is another file than the manifest lists")


def sha256_of(path: Path, report: ProgressReport | None = None) -> tuple[int, bytes]:
    """Length and SHA-256 of a regular file that is no symbolic link."""
    hashed, length, buffer = hashlib.sha256(), 0, bytearray(_CHUNK)
    with opened_regular(path, "the file") as fd, foreign_os_errors("the file", path):
        while count := os.readv(fd, [buffer]):
            hashed.update(memoryview(buffer)[:count])
            length += count
            if report is not None:
                report(length, None)
    return length, hashed.digest()


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every entry below `folder` that is not a real folder, as (relative POSIX path, path), sorted."""
    yield from _walk(folder, "", 0)


def entries_of(files: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries in the order that a manifest needs."""
    return tuple(sorted(files, key=lambda entry: entry.path))


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, Path]]:
    if depth > _MAX_DEPTH:
        raise RefusedError(f"{shown(folder)} lies deeper than {_MAX_DEPTH} folders")
    with foreign_os_errors("the folder", folder), os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if len(entries) > MAX_FILES:
        raise RefusedError(f"{shown(folder)} has more than {MAX_FILES} files")
    for entry in entries:
        relative = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{relative}/", depth + 1)
        else:
            yield relative, folder / entry.name


def _regular(folder: Path, path: Path) -> os.stat_result:
    with foreign_os_errors("the file", path):
        if path.is_symlink():
            target = Path(os.path.realpath(path, strict=True))
            if not target.is_relative_to(os.path.realpath(folder)):
                raise RefusedError(
                    f"{shown(path)} is a symbolic link that leads out of the folder",
                    "put the file itself there, or leave it out with --exclude",
                )
        found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError(f"{shown(path)} is not a regular file", "leave it out with --exclude")
    return found


def _selected(relative: str, selection: Selection) -> bool:
    if selection.include and not _matches(relative, (*selection.include, *selection.plain)):
        return False
    return not _matches(relative, selection.exclude)


def _matches(relative: str, globs: Sequence[str]) -> bool:
    name = relative.rpartition("/")[2]
    return any(
        fnmatchcase(relative, glob) or fnmatchcase(name, glob) or (glob.endswith("/") and relative.startswith(glob))
        for glob in globs
    )


def _file_id(path: Path) -> bytes | None:
    try:
        return slots_at(str(path)).current.header.file_id
    except TikTrueKeysError:
        return None
