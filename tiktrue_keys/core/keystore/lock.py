"""The writers' lock of a keystore, which admits one operation at a time and names its holder.

Come here for "the keystore is in use by". An operation holds the lock from its first look until its high-water mark is
written. Readers do not take it: SQLite gives them a snapshot. The lock file is never removed, because another process
may be waiting on the same inode.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keystore.permissions import FILE_MODE
from tiktrue_keys.errors import BusyError, InsecureError, RefusedError, TikTrueKeysError, UnavailableError

FILE_NAME = "keystore.lock"
_FIRST_PAUSE = 0.03  # seconds; shrinks to the shortest pause in the first second of waiting
_SHORTEST_PAUSE = 0.001
_HOLDER_LIMIT = 512
_MOVE_AWAY = "move it away; the program creates the lock file"


@contextlib.contextmanager
def writers_lock(folder: Path, *, timeout: float, actor: Actor) -> Iterator[None]:
    """Hold the lock for the block. Raises BusyError naming the holder after `timeout` seconds."""
    descriptor = _open(folder / FILE_NAME)
    try:
        _acquire(descriptor, timeout)
        _write_holder(descriptor, actor)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, FILE_MODE)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise UnavailableError(f"{path} is not a regular file", _MOVE_AWAY)
        if found.st_uid == os.geteuid():
            os.fchmod(descriptor, FILE_MODE)  # whatever the umask
        return descriptor
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InsecureError(f"{path} is a symbolic link", "remove it; the program creates the lock file") from error
        if error.errno == errno.EISDIR:
            raise UnavailableError(f"{path} is a folder", _MOVE_AWAY) from error
        if error.errno in (errno.EROFS, errno.EACCES):
            words = f"the keystore in {path.parent} is read-only for this user"
            raise RefusedError(words, "make it writable") from error
        hint = "look at owner and mode of the keystore's folder, and at its file system"
        raise UnavailableError(f"{path} cannot be opened: {error.strerror}", hint) from error


def _acquire(descriptor: int, timeout: float) -> None:
    started = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - started
            if waited >= timeout:
                message = f"the keystore is in use by {_in_words(_said_in(descriptor))}"
                raise BusyError(message, "wait, or pass a longer lock_timeout", remedy="wait-longer") from None
        # The longer a process has waited, the more often it tries: with a growing pause newcomers won, and the
        # unluckiest of 32 processes waited 13 s for what now takes 2.5 s.
        time.sleep(max(_SHORTEST_PAUSE, _FIRST_PAUSE * (1 - waited)))


def _write_holder(descriptor: int, actor: Actor) -> None:
    # It only names the holder in messages, so a full disk must not stop a revocation here.
    holder = json.dumps({"pid": os.getpid(), "host": actor.host, "command": actor.command, "since": int(time.time())})
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode()[:_HOLDER_LIMIT], 0)


def other_writer(folder: Path) -> str:
    """Return the name of the process that writes now, for a process that SQLite keeps waiting.

    Returns "another process" when the lock file does not name one.
    """
    try:
        data = read_capped(folder / FILE_NAME, _HOLDER_LIMIT, "the lock")
    except TikTrueKeysError:
        data = b""
    ours = f'"pid": {os.getpid()},'.encode()  # we hold the lock and wait for a reader, which leaves no name
    return _in_words(b"" if ours in data else data)


def _said_in(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, _HOLDER_LIMIT, 0)
    except OSError:
        return b""


def _in_words(data: bytes) -> str:
    try:
        holder = json.loads(data)
        pid, since = int(holder["pid"]), rfc3339(int(holder["since"]))
        host, command = str(holder["host"])[:64], str(holder["command"])[:64]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "another process"
    return f"process {pid} on {host} ({command}) since {since}"
