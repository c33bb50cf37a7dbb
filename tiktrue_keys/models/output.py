"""A file that an act on a model is about to make: whether it may, under which lock, and what it replaces.

Does not handle: the bytes; writing, syncing and renaming are NewFile's (core/durable.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.durable import NewFile, foreign_os_errors, shown
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError
from tiktrue_keys.models.header import Header
from tiktrue_keys.models.locking import locked_container
from tiktrue_keys.models.slots import MAGIC, read_slots

_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


@dataclass(frozen=True)
class Output:
    """Where the result will be. `new` is not opened yet; `existed`: something is there, `replaced` is its header."""

    new: NewFile
    force: bool
    existed: bool = False
    replaced: Header | None = None

    def commit(self) -> None:
        """Give the file its name, in place of what was there only when that was allowed."""
        self.new.commit(replace=self.force)


@contextmanager
def reserved_output(destination: Path, *, force: bool, lock_timeout: float, mode: int = 0o600) -> Iterator[Output]:
    """The output at `destination`. RefusedError when something is there and `force` is not given.

    A container that will be replaced is locked for the whole block, so that nobody rewraps it meanwhile; BusyError.
    """
    new = NewFile(destination, mode, what="the output")
    exists = os.path.lexists(destination)
    if exists and not force:
        raise RefusedError(f"the output {shown(destination)} exists already", "give --force, or choose another name")
    with ExitStack() as stack:
        replaced = None
        if exists and _is_container(destination):
            fd = stack.enter_context(locked_container(destination, lock_timeout))
            with suppress(IntegrityError):  # damaged: nothing is known of it, and it may be replaced like any file
                replaced = read_slots(fd).current.header
        yield Output(new, force, exists, replaced)


def preallocate(fd: int, size: int, path: Path) -> None:
    """Take the room for `size` bytes now, so that a full disk is noticed before the work."""
    if size <= 0 or not hasattr(os, "posix_fallocate"):
        return
    with foreign_os_errors("the output", path):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise


def let_go(manager: KeyManager, replaced: Header | None, path: str) -> None:
    """Take a container that was replaced on purpose out of the registry, unless it is known to lie elsewhere."""
    if replaced is None:
        return
    known = manager.container(replaced.file_id)
    if known is not None and known.path == path:
        with suppress(NotFoundError):  # somebody else forgot it meanwhile
            manager.forget(replaced.file_id)


def _is_container(path: Path) -> bool:
    try:
        with open(path, "rb", buffering=0, opener=_opener) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
