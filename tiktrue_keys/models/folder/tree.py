"""Folders on disk: what a source folder has to encrypt, and whether an encrypted folder is what its manifest says."""

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
        raise RefusedError("two files of the folder would lie at the same place", remedy="exclude-one")
    return SourceTree(tuple(sorted(files, key=lambda file: file.relative)), tuple(left_out))


def stamp_of(file: SourceFile) -> tuple[int, int]:
    """Size in bytes, and the time of the last change in nanoseconds, as they are now."""
    with foreign_os_errors("the file", file.path):
        found = os.stat(file.path)
    return found.st_size, found.st_mtime_ns


def blake3_of(file: SourceFile, report: ProgressReport) -> bytes:
    """BLAKE3 of a file, 32 bytes. Reports that nothing was done: the file is still in memory when it is encrypted."""
    from blake3 import blake3

    hashed, buffer = blake3(), bytearray(_CHUNK)
    with opened_regular(os.path.realpath(file.path), "the file") as fd, foreign_os_errors("the file", file.path):
        while count := os.readv(fd, [buffer]):
            hashed.update(memoryview(buffer)[:count])
            report(0, None)
    return hashed.digest()


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every entry below `folder` that is not a real folder, as (relative POSIX path, path), sorted."""
    yield from _walk(folder, "", 0)


def entries_of(files: Sequence[ManifestEntry]) -> tuple[ManifestEntry, ...]:
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
                    "put the file itself there, or exclude it",
                    remedy="exclude-link",
                    about={"path": path.relative_to(folder).as_posix()},
                )
        found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError(
            f"{shown(path)} is not a regular file",
            "exclude it",
            remedy="exclude-file",
            about={"path": path.relative_to(folder).as_posix()},
        )
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


def real_folder(source: str | PathLike[str]) -> Path:
    """The folder that a path names, over symbolic links; UsageError for anything else."""
    with foreign_os_errors("the folder", source):
        root = Path(os.path.realpath(source, strict=True))
    if not root.is_dir():
        raise UsageError(f"{shown(root)} is not a folder")
    return root
