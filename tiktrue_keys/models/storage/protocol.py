"""What is asked of a path or an object, and by whom it is answered: files.py for files, objects.py for object storage.

Come here to learn what an operation may ask of the place that a model or a container lies at. An operation asks
`storage_of` once and never whether it has a file or an object before it:

    with storage_of(place).opened("the container") as readable:
        container = read_container(readable)

A pipe is not a Storage: nothing is looked up, reserved or read twice there (location.Stream).
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
    """One place and the storage that it is in. Errors are ours, and name the place."""

    @property
    def place(self) -> Place:
        """The path or URL."""

    @property
    def group(self) -> str:
        """What is out of reach together with this place: the whole bucket of an object, a file alone."""

    def real(self, what: str) -> Storage:
        """The file that the path names now, over symbolic links; an object is what it is. NotFoundError."""

    def opened(self, what: str) -> AbstractContextManager[Readable]:
        """A regular file that is not a symbolic link, or an object, open for reading during the block."""

    def source(self, what: str) -> AbstractContextManager[Readable]:
        """What is to be encrypted, open: over symbolic links, and a path may name a pipe. RefusedError, UsageError."""

    def is_open(self, readable: Readable) -> bool:
        """Whether that is what lies here."""

    def reserved(self, *, force: bool, lock_timeout: float) -> AbstractContextManager[Output]:
        """A new output here; RefusedError when something is there, unless `force`.

        A container that will be replaced is locked for the block, where files can be locked; BusyError.
        """

    def identity(self) -> str:
        """What has this name now, as an intent records it (output_identity.py); UnavailableError."""

    def exists(self) -> bool:
        """Whether anything is there; UnavailableError when that cannot be told."""

    def is_folder(self) -> bool:
        """Whether a folder is there, or the URL ends as a folder's does."""

    def read_capped(self, limit: int, what: str) -> bytes:
        """The whole of a small file; IntegrityError when it has more than `limit` bytes, NotFoundError."""

    def below(self, suffix: str) -> Iterator[Place]:
        """What lies below this folder and has a name that ends so, in order; symbolic links are left out."""

    def slots(self) -> HeaderSlots:
        """The header of a container that counts, not authenticated; IntegrityError, NotFoundError."""

    def detached(self, file_id: bytes) -> Detached | None:
        """The header that lies beside the container with that id (16 bytes), where one may: in object storage."""

    def held(self, lock_timeout: float) -> AbstractContextManager[HeldContainer]:
        """The container here, whose header or signature is to be written; NotFoundError.

        A file is locked for the block (BusyError), under the path that it really has. Nothing can lock an object.
        """

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        """What `work` gives; UnavailableError when a storage takes longer over it than an operator would wait."""

    # What a process that died has left.

    def left(self) -> HeaderSlots | None:
        """The header of the container here, None when there is none; BusyError when a disk may just not be there."""

    def remove_unfinished(self) -> bool:
        """Remove what lies under this temporary name; False when nothing does, or it has its own name besides.

        BusyError while another process is at work on it.
        """

    def must_be_unclaimed(self) -> None:
        """BusyError while another process is at work on what is here."""

    def is_new(self, intent: FileIntent) -> bool:
        """Whether the operation of that intent has put here what is here, rather than found it here.

        By what had the name when it was begun; an intent of an earlier version only says when that was.
        """

    def give_up_uploads(self, since: int) -> None:
        """Give up what was begun to be uploaded here since then (Unix time) and never completed."""


class HeldContainer(Protocol):
    """A container whose header or signature is written as long as no other process has written it since it was read."""

    @property
    def place(self) -> Place:
        """The container: a real path, or a URL."""

    def slots(self) -> HeaderSlots:
        """The header that counts; nothing of it is authentic yet. To be called first, once."""

    def authenticate(self, data_key: memoryview) -> None:
        """IntegrityError unless what `slots` read is authentic under the 32-byte data key."""

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        """Put `header` in the place of the one that counts; only wraps may differ. BusyError, UnavailableError."""

    def readable(self) -> Readable:
        """The whole container, to be read until the block ends."""

    def detached(self, file_id: bytes) -> Detached | None:
        """Storage.detached of the container with that id (16 bytes), read in order to be written."""

    def sign(self, slots: HeaderSlots, signature_place: bytes, size: int) -> None:
        """Fill the signature place (112 bytes) of the container of `size` bytes, whose header in `slots` counts."""


class Output(Protocol):
    """A file or object that is about to be made. Its name, as an intent records it, is known before it is begun."""

    @property
    def place(self) -> Place:
        """The name that it will have, as it was given."""

    @property
    def temporary(self) -> Place | None:
        """The name that it has before; None where nothing is to be seen of it before."""

    @property
    def before(self) -> str:
        """Storage.identity of what has that name already."""

    @property
    def replaced(self) -> Header | None:
        """The header of the container that has that name already."""

    @property
    def may_exist(self) -> bool:
        """Whether the new one may have its name by now, also when giving it the name did not end well."""

    def begun(self, size: int | None) -> AbstractContextManager[Target]:
        """What to write it to; gone at the end of the block unless it was committed.

        `size` in bytes is taken beforehand where it is known and a file system can; DiskFullError.
        """

    def commit(self) -> None:
        """Give it its name, durably, in place of what had it only with `force`. RefusedError, UnavailableError."""

    def remove_detached(self) -> None:
        """Remove the detached header of a container that was replaced."""


def storage_of(place: Place) -> Storage:
    """Who answers for a place. Nothing is looked at, and no package of a storage is imported, before it is asked."""
    if isinstance(place, Url):
        from tiktrue_keys.models.storage.objects import ObjectStorage

        return ObjectStorage(place)
    return FileStorage(place)
