"""The interface of storage that operations use, implemented by files.py for paths and by objects.py for URLs.

Come here to handle a path or a URL without knowing which of the two it is:

    with storage_of(place).opened("the container") as readable:
        container = read_container(readable)

Does not handle: pipes (location.Stream), which cannot be looked up, reserved or read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.models.format.detached_header import Detached
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.files import FailedFolder, FileStorage
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.readable import Readable

_Result = TypeVar("_Result")


class Storage(Protocol):
    """One place in its storage. Every error is a TikTrueKeysError that names the place."""

    @property
    def place(self) -> Place:
        """Return the path or the URL."""

    @property
    def group(self) -> str:
        """Return a name for places that become unreachable together: an object's bucket, or the file alone."""

    def real(self, what: str) -> Storage:
        """Resolve symbolic links; an object has none. Raises NotFoundError."""

    def opened(self, what: str) -> AbstractContextManager[Readable]:
        """Open an object, or a regular file that is not a symbolic link, to read it during the block."""

    def source(self, what: str) -> AbstractContextManager[Readable]:
        """Open a model that is to be encrypted: symbolic links are followed, and a path may name a pipe.

        Raises UsageError for a folder, RefusedError for a device.
        """

    def is_open(self, readable: Readable) -> bool:
        """Return whether `readable` is the file or object here."""

    def reserved(
        self, *, force: bool, lock_timeout: float, gate: OutputGate, kind: FileKind
    ) -> AbstractContextManager[Output]:
        """Reserve this place for a new output of that kind. An existing container file stays locked for the block.

        Raises RefusedError when the gate refuses a file, a container would be replaced by another kind, or the place is
        taken, unless `force`; BusyError when the lock times out.
        """

    def identity(self) -> str:
        """Identify the file or object that has this name now, as an intent records it (output_identity.py)."""

    def exists(self) -> bool:
        """Return whether a file or object has this name. Raises UnavailableError when a storage cannot tell."""

    def is_folder(self) -> bool:
        """Return whether the path names a folder, or the URL ends with a slash."""

    def read_capped(self, limit: int, what: str) -> bytes:
        """Read a small file. Raises IntegrityError when it exceeds `limit` bytes, NotFoundError without one."""

    def below(self, suffix: str, failed: FailedFolder = ...) -> Iterator[Place]:
        """List files below this folder whose names end with `suffix`, no symbolic links, at any depth.

        `failed` is told of a folder that cannot be read, and the others are listed; the default raises its error.
        Raises NotFoundError when this folder does not exist.
        """

    def slots(self) -> HeaderSlots:
        """Read the container's header in effect, not authenticated. Raises IntegrityError, NotFoundError."""

    def detached(self, file_id: bytes) -> Detached | None:
        """Read the detached header beside the container with that id (16 bytes); a file never has one."""

    def held(self, lock_timeout: float) -> AbstractContextManager[HeldContainer]:
        """Hold the container here for writing its header or signature.

        A file is locked under its real path for the block. An object cannot be locked: the second of two writers gets a
        BusyError. Raises NotFoundError, and BusyError when the lock times out.
        """

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        """Run `work`; return its result. Raises UnavailableError when a storage does not answer within PATIENCE."""

    # For settling what a process that died has left.

    def left(self) -> HeaderSlots | None:
        """Read the header in effect; None without a container. Raises BusyError when its disk may be unmounted."""

    def remove_unfinished(self) -> bool:
        """Remove an unfinished output under this temporary name.

        Return False when there is none, or it also has its final name. Raises BusyError while another process uses it.
        """

    def must_be_unclaimed(self) -> None:
        """Raise BusyError while another process works on the file here."""

    def is_new(self, intent: FileIntent) -> bool:
        """Return whether the intent's operation made the output here, rather than found it.

        The intent records what had the name before; an intent of an earlier version only records when it began.
        """

    def give_up_uploads(self, since: int) -> None:
        """Abort incomplete uploads to this place that began at or after `since` (Unix time)."""


class HeldContainer(Protocol):
    """A container held for writing. The write fails when another process has changed it since it was read."""

    @property
    def place(self) -> Place:
        """Return the real path or the URL of the container."""

    def slots(self) -> HeaderSlots:
        """Read the header in effect, not authenticated. Call this first, once."""

    @property
    def found(self) -> Detached | None:
        """Return the detached header that `slots` found; a file never has one."""

    def authenticate(self, data_key: memoryview) -> None:
        """Raise IntegrityError unless the header that was read is authentic under the 32-byte data key."""

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        """Replace the header in effect; only the wraps may differ. Raises BusyError, UnavailableError."""

    def readable(self) -> Readable:
        """Open the whole container to read it until the block ends."""

    def detached(self, file_id: bytes) -> Detached | None:
        """Read the detached header as Storage.detached does, in order to write it."""

    def sign(self, slots: HeaderSlots, signature_place: bytes, size: int) -> None:
        """Write the signature place (112 bytes) of the container of `size` bytes; `slots` hold its header in effect."""


class Output(Protocol):
    """A file or object about to be created. An intent can name it before it is begun."""

    @property
    def place(self) -> Place:
        """Return its final name, as the caller gave it."""

    @property
    def temporary(self) -> Place | None:
        """Return its name before `commit`; None where it is invisible until then."""

    @property
    def before(self) -> str:
        """Return the identity of the file or object that had the name at reservation, or ABSENT."""

    @property
    def replaced(self) -> Header | None:
        """Return the header of the container that had the name at reservation, if any."""

    @property
    def may_exist(self) -> bool:
        """Return whether the new output may have its final name, even if `commit` has failed."""

    def begun(self, size: int | None) -> AbstractContextManager[Target]:
        """Create it under its temporary name; remove it at the end of the block unless it was committed.

        A file system reserves `size` bytes where the size is known. Raises DiskFullError.
        """

    def commit(self) -> None:
        """Give it its final name durably. Raises RefusedError when the name is taken, unless `force`."""

    def remove_detached(self) -> None:
        """Remove the detached header of a replaced container."""


def storage_of(place: Place) -> Storage:
    """Return the storage of a place. Does not access the place or import a storage service's package."""
    if isinstance(place, Url):
        from tiktrue_keys.models.storage.objects import ObjectStorage

        return ObjectStorage(place)
    return FileStorage(place)
