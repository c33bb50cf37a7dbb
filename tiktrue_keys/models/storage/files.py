"""Implements Storage (protocol.py) for local files: opens and creates them, and reads and rewrites container headers.

Does not handle: other content of the files; syncing and renaming (NewFile in core/durable.py).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeVar

from tiktrue_keys.core.containers.intents import ABSENT, FileIntent
from tiktrue_keys.core.durable import NewFile, opened_regular, read_capped, sync_folder
from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import BusyError, IntegrityError, NotFoundError, RefusedError, TikTrueKeysError, UsageError
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import MAGIC, HeaderSlots
from tiktrue_keys.models.format.trailer import SIGNATURE_PLACE_FROM_END
from tiktrue_keys.models.storage.claim import claim, must_be_unclaimed
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.header_file import read_slots, rewrite_locked
from tiktrue_keys.models.storage.output_identity import file_identity, is_another_file
from tiktrue_keys.models.storage.readable import Readable, is_file, pwrite_synced

FailedFolder = Callable[[Path, TikTrueKeysError], None]
"""Is told of a folder that cannot be read."""

_Result = TypeVar("_Result")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CONTAINER, _OUTPUT = "the container", "the output"
_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


def _raise(_: Path, error: TikTrueKeysError) -> None:
    raise error


@dataclass(frozen=True)
class FileStorage:
    """A path; its methods are described in protocol.py."""

    place: Path

    @property
    def group(self) -> str:
        return str(self.place)

    def real(self, what: str) -> FileStorage:
        with foreign_os_errors(what, self.place):
            return FileStorage(Path(os.path.realpath(self.place, strict=True)))

    def opened(self, what: str) -> AbstractContextManager[int]:
        return opened_regular(self.place, what)

    @contextmanager
    def source(self, what: str) -> Iterator[int]:
        with foreign_os_errors(what, self.place):
            fd = os.open(self.place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            must_be_readable(fd, self.place)
            yield fd
        finally:
            os.close(fd)

    def is_open(self, readable: Readable) -> bool:
        return is_file(readable, self.place)

    @contextmanager
    def reserved(self, *, force: bool, lock_timeout: float, gate: OutputGate, kind: FileKind) -> Iterator[FileOutput]:
        new, before = NewFile(self.place, gate=gate, kind=kind, what=_OUTPUT), self.identity()
        if before != ABSENT and not force:
            words = f"{_OUTPUT} {shown(self.place)} exists already"
            raise RefusedError(words, "pass force=True, or choose another name", remedy="output-exists")
        with ExitStack() as stack:
            replaced = None
            if before != ABSENT and _is_container(self.place):
                fd = stack.enter_context(locked_container(self.place, lock_timeout))
                with suppress(IntegrityError):  # damaged: its id is unknown, and it may be replaced like any file
                    replaced = read_slots(fd).current.header
            yield FileOutput(new, force, before, replaced)

    def identity(self) -> str:
        return file_identity(self.place)

    def exists(self) -> bool:
        return self.place.exists()

    def is_folder(self) -> bool:
        return self.place.is_dir()

    def read_capped(self, limit: int, what: str) -> bytes:
        return read_capped(self.place, limit, what)

    def below(self, suffix: str, failed: FailedFolder = _raise) -> Iterator[Path]:
        with foreign_os_errors("the folder", self.place):
            root = Path(os.path.realpath(self.place, strict=True))
        if not root.is_dir():
            raise UsageError(f"{self.place} is not a folder")
        waiting = [root]  # not recursion: others choose how deep the folders are nested
        while waiting:
            folder = waiting.pop()
            try:
                folders, files = _listed(folder)
            except NotFoundError:
                continue  # removed while its parent was read
            except TikTrueKeysError as error:
                failed(folder, error)
                continue
            yield from (folder / name for name in files if name.endswith(suffix))
            waiting += [folder / name for name in reversed(folders)]

    def slots(self) -> HeaderSlots:
        with opened_regular(self.place, _CONTAINER) as fd, foreign_os_errors(_CONTAINER, self.place):
            return read_slots(fd)

    def detached(self, file_id: bytes) -> None:
        return None

    @contextmanager
    def held(self, lock_timeout: float) -> Iterator[HeldFile]:
        real = self.real(_CONTAINER).place
        with locked_container(real, lock_timeout) as fd:
            yield HeldFile(real, fd)

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        return work()

    def left(self) -> HeaderSlots | None:
        must_be_reachable(self.place)
        try:
            return self.slots()
        except (NotFoundError, IntegrityError):
            return None

    def remove_unfinished(self) -> bool:
        must_be_reachable(self.place)
        must_be_unclaimed(self.place)
        try:
            with foreign_os_errors("the temporary file", self.place):
                found = os.lstat(self.place)
                if not stat.S_ISREG(found.st_mode):
                    return False
                os.unlink(self.place)
                sync_folder(self.place.parent)
        except NotFoundError:
            return False
        return found.st_nlink == 1  # two links: the file has its final name already

    def must_be_unclaimed(self) -> None:
        must_be_unclaimed(self.place)

    def is_new(self, intent: FileIntent) -> bool:
        """Return whether the intent's operation made the file here; described in protocol.py.

        Without `intent.before`, a replacement is proven only by a ctime in a later second (a rename sets it). In doubt
        the answer is False: repeating a finished operation is safer than taking an old output for the new one.
        """
        if intent.before is not None:
            return is_another_file(intent.before, self.identity())
        try:
            return os.lstat(self.place).st_ctime_ns // 10**9 > intent.at or not intent.replaces
        except OSError:
            return False

    def give_up_uploads(self, since: int) -> None:
        pass


@dataclass(frozen=True)
class FileOutput:
    """A file about to be created; its methods are described in protocol.py."""

    new: NewFile
    force: bool
    before: str = ABSENT
    replaced: Header | None = None

    @property
    def place(self) -> Path:
        return self.new.path

    @property
    def temporary(self) -> Path:
        return self.new.temporary

    @property
    def may_exist(self) -> bool:
        return self.new.committed

    @contextmanager
    def begun(self, size: int | None) -> Iterator[int]:
        with self.new as new:
            claim(new.fd)
            preallocate(new.fd, size or 0, new.path)
            with foreign_os_errors(_OUTPUT, new.path):
                yield new.fd

    def commit(self) -> None:
        self.new.commit(replace=self.force)

    def remove_detached(self) -> None:
        pass


class HeldFile:
    """A container in a locked file; its methods are described in protocol.py."""

    found: None = None

    def __init__(self, place: Path, fd: int) -> None:
        self.place = place
        self.fd = fd

    def slots(self) -> HeaderSlots:
        with foreign_os_errors(_CONTAINER, self.place):
            self._slots = read_slots(self.fd)
        return self._slots

    def authenticate(self, data_key: memoryview) -> None:
        self._slots.current.authenticate(data_key)

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        with foreign_os_errors(_CONTAINER, self.place):
            rewrite_locked(self.fd, self._slots, header, data_key)

    def readable(self) -> int:
        return self.fd

    def detached(self, file_id: bytes) -> None:
        return None

    def sign(self, slots: HeaderSlots, signature_place: bytes, size: int) -> None:
        with foreign_os_errors(_CONTAINER, self.place):
            pwrite_synced(self.fd, signature_place, size - SIGNATURE_PLACE_FROM_END)


def preallocate(fd: int, size: int, path: str | PathLike[str]) -> None:
    """Reserve disk space for `size` bytes, so that a full disk is detected before the work."""
    if size <= 0 or not hasattr(os, "posix_fallocate"):
        return
    with foreign_os_errors(_OUTPUT, path):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise


def must_be_reachable(path: Path) -> None:
    """Raises BusyError when the parent folder does not exist: its disk may not be mounted."""
    if not path.parent.is_dir():
        raise BusyError(f"{shown(path.parent)} cannot be read now")


def must_be_readable(fd: int, path: Path | None) -> None:
    """Raises UsageError for a folder, RefusedError for a device; `path` is None for a stream."""
    mode, name = os.fstat(fd).st_mode, shown(path or "the source")
    if stat.S_ISDIR(mode):
        raise UsageError(f"{name} is a folder")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise RefusedError(f"{name} is neither a file nor a pipe")


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, sorted; symbolic links are in neither."""
    with foreign_os_errors("the folder", folder):
        fd = os.open(folder, _FOLDER)
        try:
            with os.scandir(fd) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            folders = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
            known = set(folders)
            return folders, [entry.name for entry in found if entry.name not in known and not entry.is_symlink()]
        finally:
            os.close(fd)


def _is_container(path: Path) -> bool:
    try:
        with open(path, "rb", buffering=0, opener=_opener) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
