"""Folders on disk: lists the files of a source folder that are to be encrypted or copied."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.durable import opened_regular
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.models.format.header import SUFFIX
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, MAX_FILES, ManifestEntry, must_be_relative
from tiktrue_keys.models.pipeline.progress import ProgressReport

_CHUNK = 1 << 20
_MAX_DEPTH = 64


@dataclass(frozen=True)
class Selection:
    """Globs that match a file's relative path or name: include only these, exclude these, copy these in clear."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    plain: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to encrypt or copy: its relative path, the real path of its content, and its size in bytes."""

    relative: str
    path: Path
    size: int
    plain: bool

    @property
    def name(self) -> str:
        """Return the last part of its relative path."""
        return self.relative.rpartition("/")[2]

    @property
    def place(self) -> str:
        """Return its relative path in the encrypted folder."""
        return self.relative if self.plain else self.relative + SUFFIX


@dataclass(frozen=True)
class SourceTree:
    """The files to encrypt or copy, by relative path, and the paths that the selection excludes."""

    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...]

    @property
    def total(self) -> int:
        """Return the total size of all files, in bytes."""
        return sum(file.size for file in self.files)


def source_tree(folder: Path, selection: Selection) -> SourceTree:
    """Return the files below `folder`.

    Raises RefusedError for a symbolic link that leads out of the folder or to a folder, for an entry that is neither a
    file nor a folder, for a name that a manifest may not have, and when no file is left to encrypt.
    """
    files, left_out = [], []
    for relative, path in walk(folder):
        if not _selected(relative, selection):
            left_out.append(relative)
            continue
        must_be_relative(relative)
        real, size = _regular(folder, path)
        files.append(SourceFile(relative, real, size, _matches(relative, selection.plain)))
    if not files:
        raise RefusedError(f"{shown(folder)} holds no file to encrypt")
    if len({MANIFEST_NAME, *(file.place for file in files)}) != len(files) + 1:
        raise RefusedError("two files would have the same path in the encrypted folder", remedy="exclude-one")
    return SourceTree(tuple(sorted(files, key=lambda file: file.relative)), tuple(left_out))


def stamp_of(file: SourceFile) -> tuple[int, int]:
    """Return the current size in bytes and modification time in nanoseconds."""
    with foreign_os_errors("the file", file.path):
        found = os.stat(file.path)
    return found.st_size, found.st_mtime_ns


def blake3_of(file: SourceFile, report: ProgressReport) -> bytes:
    """Return the BLAKE3 hash of a file, 32 bytes. Reports 0 bytes done: only encrypting counts as progress."""
    from blake3 import blake3

    hashed, buffer = blake3(), bytearray(_CHUNK)
    with opened_regular(file.path, "the file") as fd, foreign_os_errors("the file", file.path):
        while count := os.readv(fd, [buffer]):
            hashed.update(memoryview(buffer)[:count])
            report(0, None)
    return hashed.digest()


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every entry below `folder` that is not a real folder, as (relative POSIX path, path), sorted."""
    yield from _walk(folder, "", 0)


def entries_of(files: Sequence[ManifestEntry]) -> tuple[ManifestEntry, ...]:
    """Return entries in the order that a manifest requires."""
    return tuple(sorted(files, key=lambda entry: entry.path))


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, Path]]:
    if depth > _MAX_DEPTH:
        raise RefusedError(f"{shown(folder)} is more than {_MAX_DEPTH} folders deep")
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


def _regular(folder: Path, path: Path) -> tuple[Path, int]:
    """Return the real path and the size of a regular file."""
    real = path
    with foreign_os_errors("the file", path):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            real = Path(os.path.realpath(path, strict=True))
            if not real.is_relative_to(os.path.realpath(folder)):
                raise RefusedError(
                    f"{shown(path)} is a symbolic link that leads out of the folder",
                    "put the file itself there, or exclude it",
                    remedy="exclude-link",
                    about={"path": path.relative_to(folder).as_posix()},
                )
            found = os.stat(real)
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError(
            f"{shown(path)} is not a regular file",
            "exclude it",
            remedy="exclude-file",
            about={"path": path.relative_to(folder).as_posix()},
        )
    return real, found.st_size


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


def real_folder(source: str | PathLike[str]) -> Path:
    """Return the folder that a path names, with symbolic links resolved. Raises UsageError for anything else."""
    with foreign_os_errors("the folder", source):
        root = Path(os.path.realpath(source, strict=True))
    if not root.is_dir():
        raise UsageError(f"{shown(root)} is not a folder")
    return root
