"""A container's header that is about to be written: in a locked file, or beside an object that cannot be written to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.models.container.object import detached_place, own_slots
from tiktrue_keys.models.format.detached_header import counting_slots
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.header_file import read_slots, rewrite_locked
from tiktrue_keys.models.storage.location import Place, Url


class WritableHeader(Protocol):
    """A header to be read, and then rewritten as long as nobody else has."""

    place: Place
    """The container: a real path, or a URL."""

    def read(self) -> HeaderSlots:
        """The slots that count; nothing of them is authentic yet. To be called first, once."""

    def authenticate(self, data_key: memoryview) -> None:
        """IntegrityError unless what was read is authentic under the 32-byte data key."""

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        """Put `header` in its place; only wraps may differ. RefusedError, BusyError, UnavailableError."""


class _InFile:
    def __init__(self, path: Path, fd: int) -> None:
        self.place: Place = path
        self._path = path
        self._fd = fd

    def read(self) -> HeaderSlots:
        with foreign_os_errors("the container", self._path):
            self._slots = read_slots(self._fd)
        return self._slots

    def authenticate(self, data_key: memoryview) -> None:
        self._slots.current.authenticate(data_key)

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        with foreign_os_errors("the container", self._path):
            rewrite_locked(self._fd, self._slots, header, data_key)


@contextmanager
def writable_header(place: Place, lock_timeout: float) -> Iterator[WritableHeader]:
    """A container's header to be rewritten. A file stays locked for the block; BusyError as locked_container."""
    if isinstance(place, Url):
        yield RemoteHeader(place)
        return
    with foreign_os_errors("the container", place):
        real = Path(os.path.realpath(place, strict=True))
    with locked_container(real, lock_timeout) as fd:
        yield _InFile(real, fd)


class RemoteHeader:
    """A WritableHeader: what is written goes beside the body."""

    def __init__(self, url: Url) -> None:
        self.place: Place = url
        self._url = url

    def read(self) -> HeaderSlots:
        """The header that counts, and what lies beside the body now."""
        self._own = own_slots(self._url)
        self._detached = detached_place(self._url, self._own.current.header.file_id)
        self._slots = counting_slots(self._own, self._detached.found)
        return self._slots

    def authenticate(self, data_key: memoryview) -> None:
        """IntegrityError unless both headers are authentic under the 32-byte data key."""
        self._slots.current.authenticate(data_key)
        self._own.current.authenticate(data_key)

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        """As DetachedPlace.rewrite."""
        self._detached.rewrite(self._slots, header, data_key)
