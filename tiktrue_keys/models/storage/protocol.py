"""The questions that an operation asks of a place, which files.py answers for paths and objects.py for URLs.

Come here to see what can be done with a path or a URL without knowing which of the two it is:

    with storage_of(place).opened("the container") as readable:
        container = read_container(readable)

Does not handle: pipes (location.Stream), where nothing can be looked up, reserved or read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.models.format.detached_header import Detached
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.files import FileStorage
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.readable import Readable

_Result = TypeVar("_Result")


class Storage(Protocol):
    """One place in its storage. Every error is a TikTrueKeysError that names the place."""

    @property
    def place(self) -> Place:
        """The path or the URL."""

    @property
    def group(self) -> str:
        """Names what is out of reach together with this place: an object's bucket, a file alone."""

    def real(self, what: str) -> Storage:
        """Follow symbolic links to the file that the path names now; an object has none. NotFoundError."""

    def opened(self, what: str) -> AbstractContextManager[Readable]:
        """Open an object, or a regular file that is not a symbolic link, to read it during the block."""

    def source(self, what: str) -> AbstractContextManager[Readable]:
        """Open a model that is to be encrypted: symbolic links are followed, and a path may name a pipe.

        UsageError for a folder, RefusedError for a device.
        """

    def is_open(self, readable: Readable) -> bool:
        """Whether `readable` is the file or the object here."""

    def reserved(self, *, force: bool, lock_timeout: float) -> AbstractContextManager[Output]:
        """Reserve this place for a new output; RefusedError when it is taken, unless `force`.

        A file that is a container already stays locked for the block; BusyError.
        """

    def identity(self) -> str:
        """Identify the file or object that has this name now, as an intent records it (output_identity.py)."""

    def exists(self) -> bool:
        """Whether a file or an object has this name; UnavailableError when a storage does not say."""

    def is_folder(self) -> bool:
        """Whether the path is a folder's, or the URL ends like a folder's."""

    def read_capped(self, limit: int, what: str) -> bytes:
        """Read a small file whole; IntegrityError when it has more than `limit` bytes, NotFoundError."""

    def below(self, suffix: str) -> Iterator[Place]:
        """List the files below this folder whose names end with `suffix`, but no symbolic links; NotFoundError."""

    def slots(self) -> HeaderSlots:
        """Read the header that counts of the container here, not authenticated; IntegrityError, NotFoundError."""

    def detached(self, file_id: bytes) -> Detached | None:
        """Read the detached header beside the container with that id (16 bytes); a file never has one."""

    def held(self, lock_timeout: float) -> AbstractContextManager[HeldContainer]:
        """Hold the container here, to write its header or its signature; NotFoundError.

        A file is locked for the block (BusyError), under its real path. An object cannot be locked: its second writer
        gets a BusyError.
        """

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        """Do `work` and return its result; UnavailableError when a storage does not answer within PATIENCE."""

    # For settling what a process that died has left.

    def left(self) -> HeaderSlots | None:
        """Read the header as `slots` does; None without a container, BusyError when its disk may not be mounted."""

    def remove_unfinished(self) -> bool:
        """Remove an unfinished output under this temporary name.

        False when there is none, or it has its own name too; BusyError while another process works on it.
        """

    def must_be_unclaimed(self) -> None:
        """Raise BusyError while another process works on the file here."""

    def is_new(self, intent: FileIntent) -> bool:
        """Whether the operation of that intent has made the output here, rather than found it here.

        The intent says what had the name before; one of an earlier version only says when the operation began.
        """

    def give_up_uploads(self, since: int) -> None:
        """Give up the uploads to this place that were begun since then (Unix time) and never completed."""


class HeldContainer(Protocol):
    """A container that is about to be written to, unless another process has written to it since it was read."""

    @property
    def place(self) -> Place:
        """The real path or the URL of the container."""

    def slots(self) -> HeaderSlots:
        """Read the header that counts, which is not authentic yet. Call it first, once."""

    def authenticate(self, data_key: memoryview) -> None:
        """Raise IntegrityError unless the header that was read is authentic under the 32-byte data key."""

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        """Write `header` in place of the one that counts; only wraps may differ. BusyError, UnavailableError."""

    def readable(self) -> Readable:
        """Open the whole container to read it until the block ends."""

    def detached(self, file_id: bytes) -> Detached | None:
        """Read the detached header as Storage.detached does, in order to write it."""

    def sign(self, slots: HeaderSlots, signature_place: bytes, size: int) -> None:
        """Write the signature place (112 bytes) of the container of `size` bytes, whose header in `slots` counts."""


class Output(Protocol):
    """A file or object that is about to be made. An intent can name it before it is begun."""

    @property
    def place(self) -> Place:
        """The name that it will have, as the caller gave it."""

    @property
    def temporary(self) -> Place | None:
        """The name that it has before `commit`; None where it cannot be seen before."""

    @property
    def before(self) -> str:
        """The identity of what has that name already, as Storage.identity gives it."""

    @property
    def replaced(self) -> Header | None:
        """The header of the container that has that name already."""

    @property
    def may_exist(self) -> bool:
        """Whether the new one may have its name by now, even if `commit` has failed."""

    def begun(self, size: int | None) -> AbstractContextManager[Target]:
        """Make it under its temporary name; it is removed at the end of the block unless it was committed.

        Where `size` in bytes is known, a file system reserves the room; DiskFullError.
        """

    def commit(self) -> None:
        """Give it its name durably; RefusedError when the name is taken and `force` was not given."""

    def remove_detached(self) -> None:
        """Remove the detached header of a container that was replaced."""


def storage_of(place: Place) -> Storage:
    """The storage of a place. It looks at nothing, and imports no package of a storage service, before it is asked."""
    if isinstance(place, Url):
        from tiktrue_keys.models.storage.objects import ObjectStorage

        return ObjectStorage(place)
    return FileStorage(place)
