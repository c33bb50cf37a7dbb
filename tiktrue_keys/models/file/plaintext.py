"""The plaintext that is to be encrypted: a file, an object, or what arrives on a pipe; looked at before and after it is
read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import RefusedError, UnavailableError, UsageError
from tiktrue_keys.models.format.header import safe_name
from tiktrue_keys.models.format.header_slots import MAGIC
from tiktrue_keys.models.format.kind import SNIFF_LENGTH, Kind, detect_kind
from tiktrue_keys.models.pipeline.sources import read_stream
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.readable import Readable, pread_full, stamp_of


@dataclass(frozen=True)
class PlaintextSource:
    """An opened source. `already` is what was taken from a pipe to tell its kind; `size` None when nobody knows it."""

    fd: Readable
    path: Place | None
    name: str
    kind: Kind
    already: bytes
    size: int | None
    stamp: object

    def refuse_changed(self) -> None:
        """UnavailableError when the file was written to since it was opened."""
        if self.size is not None and stamp_of(self.fd) != self.stamp:
            raise UnavailableError("the file changed while it was read", "encrypt it when nothing writes to it")


@contextmanager
def plaintext_source(source: Place | BinaryIO, name: str | None = None) -> Iterator[PlaintextSource]:
    """Open `source`. UsageError for a folder, RefusedError for a device or for what is a container already."""
    if isinstance(source, Url):
        yield _remote(source, name)
        return
    if not isinstance(source, Path):
        yield _looked_at(descriptor(source, "the source"), None, name)
        return
    with foreign_os_errors("the model", source):
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        yield _looked_at(fd, source, name)
    finally:
        os.close(fd)


def descriptor(stream: BinaryIO, what: str) -> int:
    """The descriptor under a stream; UsageError for one that has none (a BytesIO)."""
    try:
        return stream.fileno()
    except (OSError, AttributeError):
        raise UsageError(f"{what} has no file descriptor", "give a path, or standard input or output") from None


def _looked_at(fd: int, path: Path | None, name: str | None) -> PlaintextSource:
    found = os.fstat(fd)
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{shown(path or 'the source')} is a folder")
    regular = stat.S_ISREG(found.st_mode)
    if not (regular or stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
        raise RefusedError(f"{shown(path or 'the source')} is neither a file nor a pipe")
    position = os.lseek(fd, 0, os.SEEK_CUR) if regular else 0
    with foreign_os_errors("the model", path or "standard input"):
        first = os.pread(fd, SNIFF_LENGTH, position) if regular else read_stream(fd, SNIFF_LENGTH)
    _refuse_container(first, path or "the source")
    size = max(0, found.st_size - position) if regular else None
    chosen = safe_name(name if name is not None else path.name if path else "model")
    return PlaintextSource(fd, path, chosen, detect_kind(first, chosen), b"" if regular else first, size, stamp_of(fd))


def _remote(url: Url, name: str | None) -> PlaintextSource:
    from tiktrue_keys.models.storage.object_requests import RemoteObject

    found = RemoteObject(url, "the model")
    stamp, first = found.stamp(), pread_full(found, SNIFF_LENGTH, 0)
    _refuse_container(first, str(url))
    chosen = safe_name(name if name is not None else url.name)
    return PlaintextSource(found, url, chosen, detect_kind(first, chosen), b"", found.size, stamp)


def _refuse_container(first: bytes, path: str | Path) -> None:
    if first.startswith(MAGIC):
        raise RefusedError(
            f"{shown(path)} is a model container already",
            "rewrap or re-encrypt it",
            remedy="container-already",
        )
