"""Files and folders of a spool, opened by name below an open folder, in which others may have put anything.

No name leads elsewhere: a symbolic link is not followed, and a FIFO or device does not block. What cannot be what it
should be is counted as junk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator

from tiktrue_keys.core.durable import sync_file, sync_folder_fd, write_all
from tiktrue_keys.core.folder_removal import remove_folder
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Junk

MAX_FILE = 4 << 20
MAX_LINES = 4096
FILE_MODE = 0o644  # nodes run as other users; sealed and signed lines reveal no secret
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


@contextlib.contextmanager
def opened_folder(parent: int, name: str) -> Iterator[int]:
    """Yield a descriptor of a folder. Raises OSError, also for a symbolic link."""
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(parent: int, name: str, mode: int | None = None) -> None:
    """Create a folder with that mode, by default with the umask's and full access for this user. Raises OSError."""
    os.mkdir(name, dir_fd=parent)
    made = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if made & stat.S_IRWXU != stat.S_IRWXU:  # by a umask that denies this user access
        os.chmod(name, stat.S_IMODE(made) | stat.S_IRWXU, dir_fd=parent)
    if mode is not None:
        with opened_folder(parent, name) as folder, contextlib.suppress(PermissionError):  # vfat has no modes
            os.fchmod(folder, mode)


def read_file(folder: int, name: str, junk: Junk) -> bytes | None:
    """Return a regular file of at most MAX_FILE bytes. None for any other, which is junk, and for one that is missing.

    The size is looked at before anything is read.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError:
        junk.add("file that cannot be read")
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            junk.add("file that is not a regular file")
            return None
        data = bytearray()
        while status.st_size <= MAX_FILE and (piece := os.read(descriptor, min(_CHUNK, MAX_FILE + 1 - len(data)))):
            data += piece
    except OSError:
        junk.add("file that cannot be read")
        return None
    finally:
        os.close(descriptor)
    if status.st_size > MAX_FILE or len(data) > MAX_FILE:
        junk.add("file that is too long")
        return None
    return bytes(data)


def lines_of(data: bytes, junk: Junk) -> Iterator[bytes]:
    """Yield the first MAX_LINES lines, but none that is longer than MAX_LINE. The others are junk."""
    begin = 0
    for _ in range(MAX_LINES):
        if begin >= len(data):
            return
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        if end - begin > MAX_LINE:
            junk.add("line that is too long")
        elif end > begin:
            yield data[begin:end]
        begin = end + 1
    if begin < len(data):
        junk.add("line past the most of a file", max(data.count(b"\n", begin), 1))


def write_file(folder: int, name: str, data: bytes) -> None:
    """Write a new file. Raises OSError."""
    descriptor = os.open(name, _NEW, FILE_MODE, dir_fd=folder)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def replace_file(folder: int, name: str, data: bytes) -> None:
    """Write a file durably in place of whatever has its name. Raises OSError.

    A rename replaces a link, FIFO, socket or device and does not open it. A folder is renamed out of the way and kept:
    it is not ours to remove.
    """
    temporary = f".{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, _NEW, FILE_MODE, dir_fd=folder)
    try:
        try:
            with contextlib.suppress(PermissionError):  # vfat has no modes
                os.fchmod(descriptor, FILE_MODE)
            write_all(descriptor, data)
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            os.rename(name, f".{secrets.token_hex(8)}.foreign", src_dir_fd=folder, dst_dir_fd=folder)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        sync_folder_fd(folder)
    finally:
        with contextlib.suppress(OSError):  # renamed already
            os.unlink(temporary, dir_fd=folder)


def remove_tree(parent: int, name: str) -> None:
    """Remove a folder that this process made, as far as it can be removed."""
    remove_folder(name, dir_fd=parent)
