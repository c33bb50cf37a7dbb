"""A file or object that an act on a model is about to make: whether it may, under which lock, and what it replaces.

Does not handle: the bytes; writing, syncing and renaming are NewFile's (core/durable.py), uploading is Upload's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tiktrue_keys.core.containers.intents import ABSENT, NO_OTHERS, Settlement
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import MAGIC
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.header_file import read_slots
from tiktrue_keys.models.storage.location import Location, Place, Stream, Url
from tiktrue_keys.models.storage.output_identity import file_identity, object_identity
from tiktrue_keys.models.storage.protocol import Output as NewOutput
from tiktrue_keys.models.storage.protocol import storage_of

if TYPE_CHECKING:
    from tiktrue_keys.models.storage.upload import Upload

_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


@dataclass(frozen=True)
class Output:
    """Where the result will be. `new` is not opened yet. `before` is the identity of what is there, `replaced` its
    header.
    """

    new: NewFile
    force: bool
    before: str = ABSENT
    replaced: Header | None = None

    @property
    def existed(self) -> bool:
        """Whether something is there."""
        return self.before != ABSENT

    def commit(self) -> None:
        """Give the file its name, in place of what was there only when that was allowed."""
        self.new.commit(replace=self.force)


@dataclass(frozen=True)
class RemoteOutput:
    """The same for an object in storage; nobody can lock it."""

    url: Url
    force: bool
    before: str = ABSENT
    replaced: Header | None = None

    @property
    def existed(self) -> bool:
        """Whether something is there."""
        return self.before != ABSENT

    def upload(self, size: int | None) -> Upload:
        """What to write it to, and commit; `size` as far as it is known."""
        from tiktrue_keys.models.storage.upload import Upload

        return Upload(self.url, replace=self.force, size=size)

    def remove_detached(self) -> None:
        """Take away the detached header of what was replaced; of another file id, nobody looks at one that stays."""
        from tiktrue_keys.models.format.detached_header import SUFFIX, WHAT
        from tiktrue_keys.models.storage.object_requests import remove_object

        if self.existed:
            with suppress(TikTrueKeysError):
                remove_object(self.url.with_name(self.url.name + SUFFIX), WHAT)


@contextmanager
def reserved_output(location: Location, *, force: bool, lock_timeout: float) -> Iterator[NewOutput | Stream]:
    """The output at a path or URL, as Storage.reserved; a stream is what it is."""
    if isinstance(location, Stream):
        yield location
        return
    with storage_of(location).reserved(force=force, lock_timeout=lock_timeout) as output:
        yield output


@contextmanager
def reserved_place(place: Place, *, force: bool, lock_timeout: float) -> Iterator[Output | RemoteOutput]:
    """The output at a path or URL; errors as _reserved_file, and UnavailableError."""
    if isinstance(place, Url):
        yield _reserved_object(place, force=force)
        return
    with _reserved_file(place, force=force, lock_timeout=lock_timeout) as output:
        yield output


def exists(place: Place) -> bool:
    """Whether something lies there; UnavailableError when the storage cannot be reached."""
    if not isinstance(place, Url):
        return place.exists()
    from tiktrue_keys.models.storage.object_requests import look_up

    return look_up(place, "the output") is not None


def _reserved_object(url: Url, *, force: bool) -> RemoteOutput:
    from tiktrue_keys.models.storage.object_requests import look_up

    found = look_up(url, "the output")
    if found is None:
        return RemoteOutput(url, force)
    if not force:
        raise RefusedError(
            f"the output {shown(str(url))} exists already",
            "pass force=True, or choose another name",
            remedy="output-exists",
        )
    replaced = None
    with suppress(IntegrityError):  # no container, or a damaged one
        replaced = slots_at(str(url)).current.header
    return RemoteOutput(url, force, object_identity(found), replaced)


@contextmanager
def _reserved_file(destination: Path, *, force: bool, lock_timeout: float, mode: int = 0o600) -> Iterator[Output]:
    """The output at `destination`. RefusedError when something is there and `force` is not given.

    A container that will be replaced is locked for the whole block, so that nobody rewraps it meanwhile; BusyError.
    """
    new = NewFile(destination, mode, what="the output")
    before = file_identity(destination)
    if before != ABSENT and not force:
        raise RefusedError(
            f"the output {shown(destination)} exists already",
            "pass force=True, or choose another name",
            remedy="output-exists",
        )
    with ExitStack() as stack:
        replaced = None
        if before != ABSENT and _is_container(destination):
            fd = stack.enter_context(locked_container(destination, lock_timeout))
            with suppress(IntegrityError):  # damaged: nothing is known of it, and it may be replaced like any file
                replaced = read_slots(fd).current.header
        yield Output(new, force, before, replaced)


def preallocate(fd: int, size: int, path: str | PathLike[str]) -> None:
    """Take the room for `size` bytes now, so that a full disk is noticed before the work."""
    if size <= 0 or not hasattr(os, "posix_fallocate"):
        return
    with foreign_os_errors("the output", path):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise


def superseded(replaced: Header | None) -> Settlement:
    """What the registry is told of a container that was replaced on purpose: it is gone, unless it lies elsewhere."""
    return NO_OTHERS if replaced is None else Settlement(gone=(replaced.file_id,))


def _is_container(path: Path) -> bool:
    try:
        with open(path, "rb", buffering=0, opener=_opener) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
