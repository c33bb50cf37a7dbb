"""Copies and hashes the files of a folder that stay in clear. The manifest lists their SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from tiktrue_keys.core.durable import opened_regular
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import (
    IntegrityError,
    UnavailableError,
)
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.manifest import PlainEntry
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.storage.location import Place
from tiktrue_keys.models.storage.protocol import storage_of
from tiktrue_keys.models.storage.readable import pread_full, size_of

_CHUNK = 1 << 20


def copy_plain(root: Place, entry: PlainEntry, write: Callable[[bytes], object], report: ProgressReport) -> None:
    """Pass a clear file of an encrypted folder to `write`. Raises IntegrityError unless it matches the manifest."""
    hashed, length, source = hashlib.sha256(), 0, root / entry.place
    with storage_of(source).opened("the file") as found:
        must_be_listed(entry, size_of(found), entry.sha256)  # do not transfer a file of the wrong length
        with foreign_os_errors("the file", str(source)):
            while chunk := pread_full(found, _CHUNK, length):
                hashed.update(chunk)
                write(chunk)
                length += len(chunk)
                report(length, None)
        must_be_listed(entry, length, hashed.digest())


def checked_plain(folder: Path, entry: PlainEntry, report: ProgressReport | None = None) -> None:
    """Hash a file in clear. Raises IntegrityError unless it matches the manifest."""
    if not is_listed(folder, entry, report):
        raise _another(entry)


def is_listed(folder: Path, entry: PlainEntry, report: ProgressReport | None = None) -> bool:
    """Return whether a file in clear has the length and the SHA-256 that the manifest lists."""
    return sha256_of(folder / entry.place, entry.length, report) == entry.sha256


def must_be_listed(entry: PlainEntry, length: int, sha256: bytes) -> None:
    """Raises IntegrityError unless length (bytes) and SHA-256 are those that the manifest lists."""
    if (length, sha256) != (entry.length, entry.sha256):
        raise _another(entry)


def _another(entry: PlainEntry) -> IntegrityError:
    return IntegrityError(f"{shown(entry.place)} is another file than the manifest lists")


def sha256_of(path: Path, length: int, report: ProgressReport | None = None) -> bytes | None:
    """Return the SHA-256 of a regular file of `length` bytes, None for one of another length, which is not read.

    Symbolic links are not followed.
    """
    hashed, done, buffer = hashlib.sha256(), 0, bytearray(_CHUNK)
    with opened_regular(path, "the file") as fd, foreign_os_errors("the file", path):
        if os.fstat(fd).st_size != length:
            return None
        while done <= length and (count := os.readv(fd, [buffer])):
            hashed.update(memoryview(buffer)[:count])
            done += count
            if report is not None:
                report(done, None)
    return hashed.digest() if done == length else None


def copy_through(file: SourceFile, write: Callable[[bytes], object], report: ProgressReport | None) -> PlainEntry:
    """Pass a file in clear to `write` and return its entry. Raises UnavailableError when it changes meanwhile."""
    hashed, length = hashlib.sha256(), 0
    with opened_regular(file.path, "the file") as fd, foreign_os_errors("the file", file.path):
        before = os.fstat(fd)
        while chunk := os.read(fd, _CHUNK):
            hashed.update(chunk)
            write(chunk)
            length += len(chunk)
            if report is not None:
                report(length, file.size)
        after = os.fstat(fd)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, length):
        words = f"{shown(file.path)} changed while it was read"
        raise UnavailableError(words, "encrypt the folder when nothing writes to it")
    return PlainEntry(file.relative, length, hashed.digest())
