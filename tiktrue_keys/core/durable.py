"""Writes files that survive a power cut: written beside their destination, synced, renamed, and the folder synced.

Use NewFile or replace_bytes for every file that the program writes, and opened_regular or read_capped to read one. A
symbolic link in the last part of a file's path is never followed. A temporary file is removed at the end of its block;
only a kill leaves one, and its name is known before it is created so that an intent can record it. POSIX only. This
module does not lock, does not check the owner and mode of files, and must not open the SQLite file: closing a second
descriptor of it drops SQLite's lock.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors, own_name, shown
from tiktrue_keys.errors import (
    InsecureError,
    IntegrityError,
    RefusedError,
    UsageError,
)

_NAME_MAX = 255  # bytes; the limit of ext4, xfs, btrfs, tmpfs and APFS
_MAX_LINKS = 40  # the number that Linux follows before it returns ELOOP
_READ_CHUNK = 1 << 20
ANOTHER_FILE = "check its name: this is another file"
"""The hint about a file that is too long to be what it was named for."""
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # vfat, exfat, some FUSE mounts


class NewFile:
    """A file that appears at `path` complete or not at all.

    Use it as a context manager; without `commit` nothing remains. `.fd` is open for reading and writing, unbuffered.
    `.temporary` is the file's path until `commit`, fixed at construction. The file gets exactly `mode`, whatever the
    umask. An output passes `gate`, which is asked at construction and before a replacement, and its `kind`; None is for
    a file whose place the program chose itself. Raises UsageError when `path` does not name a file, InsecureError when
    it is a symbolic link, RefusedError when the gate refuses it or it is anything else but a regular file, and
    NotFoundError, RefusedError, DiskFullError or UnavailableError for the operating system's errors.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        mode: int = 0o600,
        *,
        gate: OutputGate | None,
        kind: FileKind = FileKind.OTHER,
        what: str = "the file",
    ) -> None:
        self.path = Path(path)
        self.mode = mode
        self.what = what
        self._gate, self._kind = gate, kind
        if self.path.name in ("", "..") or os.fspath(path).endswith(os.sep):
            raise UsageError(f"{shown(path)} does not name a file")
        if gate is not None:
            gate.check(path, kind)
        self._name = _temporary_name(self.path.name)
        self.temporary = self.path.parent / self._name
        self.committed = False
        self.fd = -1
        self._folder = -1
        self._may_exist = False

    def __enter__(self) -> NewFile:
        try:
            with foreign_os_errors("the folder", own_name(self.path.parent)):
                self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with foreign_os_errors(self.what, own_name(self.path)):
                self._refuse_odd_destination()
                self._create()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._clean_up()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at the descriptor's position."""
        with foreign_os_errors(self.what, own_name(self.path)):
            write_all(self.fd, data)

    def commit(self, replace: bool) -> None:
        """Sync the file, give it its name and sync the folder.

        Raises RefusedError if `replace` is false and the name is taken, or if the gate refuses. If only the sync of the
        folder fails, a new name is removed again, so that repeating the operation is not refused. A file that replaced
        another one stays: `committed` is true, and whether it survives a power cut is unknown.
        """
        if replace and self._gate is not None:
            self._gate.check(self.path, self._kind)  # once more: writing may have taken hours
        with foreign_os_errors(self.what, own_name(self.path)):
            sync_file(self.fd)
            self._refuse_odd_destination()
            if replace:
                self._rename()
            else:
                self._link()
            try:
                sync_folder_fd(self._folder)
            except OSError:
                if not replace:
                    self._take_back()
                raise

    def _create(self) -> None:
        # Set before the call: an interrupt may arrive after the file is created and before its descriptor is stored.
        self._may_exist = True
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.fd = os.open(self._name, flags, 0o600, dir_fd=self._folder)
        except OSError:
            self._may_exist = False
            raise
        os.fchmod(self.fd, self.mode)

    def _refuse_odd_destination(self) -> None:
        try:
            status = os.lstat(self.path.name, dir_fd=self._folder)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(status.st_mode):
            raise InsecureError(f"{shown(self.path)} is a symbolic link", "give the path of the file itself")
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"{shown(self.path)} exists and is not a regular file", "choose another name")

    def _rename(self) -> None:
        os.rename(self._name, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self.committed = True

    def _link(self) -> None:
        """Give the file its name unless the name is taken: link(2) is the one POSIX call that does both at once.

        Without hard links an empty file is created exclusively and the new one is renamed over it; a kill between the
        two leaves that empty file. renameat2(RENAME_NOREPLACE) would not, but needs ctypes, Linux and a file system
        that supports it.
        """
        try:
            os.link(self._name, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._rename_over_placeholder()
            return
        self.committed = True
        with suppress(OSError):  # the file has its name, so nothing failed; _clean_up tries once more
            os.unlink(self._name, dir_fd=self._folder)

    def _take_back(self) -> None:
        with suppress(OSError):
            if os.path.samestat(os.fstat(self.fd), os.lstat(self.path.name, dir_fd=self._folder)):
                os.unlink(self.path.name, dir_fd=self._folder)
                self.committed = False

    def _rename_over_placeholder(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        placeholder = os.open(self.path.name, flags, 0o600, dir_fd=self._folder)
        try:
            self._rename()
        except BaseException:
            with suppress(OSError):
                if os.path.samestat(os.fstat(placeholder), os.lstat(self.path.name, dir_fd=self._folder)):
                    os.unlink(self.path.name, dir_fd=self._folder)
            raise
        finally:
            os.close(placeholder)

    def _clean_up(self) -> None:
        if self._may_exist:
            with suppress(OSError):  # renamed already, or the folder is gone: nothing is left to remove
                os.unlink(self._name, dir_fd=self._folder)
        for descriptor in (self.fd, self._folder):
            if descriptor >= 0:
                with suppress(OSError):  # the sync has reported any error about the data
                    os.close(descriptor)
        self.fd = self._folder = -1
        self._may_exist = False


def replace_bytes(
    path: str | PathLike[str],
    data: bytes,
    mode: int = 0o600,
    *,
    gate: OutputGate | None,
    kind: FileKind = FileKind.OTHER,
    what: str = "the file",
) -> None:
    """Write `data` durably to `path`, replacing the file that is there. Raises RefusedError when the gate refuses."""
    with NewFile(path, mode, gate=gate, kind=kind, what=what) as new:
        new.write(data)
        new.commit(replace=True)


def create_bytes(
    path: str | PathLike[str],
    data: bytes,
    mode: int = 0o600,
    *,
    gate: OutputGate | None,
    kind: FileKind = FileKind.OTHER,
    what: str = "the file",
) -> None:
    """Write `data` durably to a new file at `path`. Raises RefusedError for a taken name, or by the gate."""
    with NewFile(path, mode, gate=gate, kind=kind, what=what) as new:
        new.write(data)
        new.commit(replace=False)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data`, repeating short writes. Raises OSError. (Python itself retries after EINTR.)"""
    with memoryview(data) as whole, whole.cast("B") as octets:
        done = 0
        while done < len(octets):
            with octets[done:] as rest:
                done += os.write(fd, rest)


@contextmanager
def opened_regular(path: str | PathLike[str], what: str) -> Iterator[int]:
    """Yield a descriptor for reading the regular file at `path`, checked after opening and closed after the block.

    Raises InsecureError for a symbolic link, RefusedError for a folder, FIFO, socket or device; none of them blocks.
    Use it to read into a buffer of your own, or to look at owner and mode: fstat the descriptor, never the path.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with foreign_os_errors(what, path):
        fd = os.open(path, flags)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            hint = "name a file in the folder" if stat.S_ISDIR(mode) else "give the path of a regular file"
            raise RefusedError(f"{what} {shown(path)} is not a regular file", hint)
        yield fd
    finally:
        os.close(fd)


def read_capped(path: str | PathLike[str], limit: int, what: str, *, hint: str = "") -> bytes:
    """Return the content of a regular file. `hint` is what to do about one that is too long.

    Raises IntegrityError when it has more than `limit` bytes, InsecureError for a symbolic link, RefusedError for
    anything else that is not a regular file.
    """
    with opened_regular(path, what) as fd, foreign_os_errors(what, path):
        data = bytearray()
        # Under /proc and /sys the size is 0 or a page, and a file may grow meanwhile, so reading is capped as well.
        too_long = os.fstat(fd).st_size > limit
        while not too_long and (chunk := os.read(fd, min(_READ_CHUNK, limit + 1 - len(data)))):
            data += chunk
            too_long = len(data) > limit
    if too_long:
        raise IntegrityError(f"{what} {shown(path)} is longer than {limit} bytes", hint)
    return bytes(data)


def sync_file(fd: int) -> None:
    """Bring a file's data and size to stable storage. Raises OSError."""
    if sys.platform == "darwin":
        import fcntl

        # fsync(2) of macOS leaves the data in the drive's cache; network mounts support nothing better.
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_folder(path: str | PathLike[str]) -> None:
    """Bring a folder's entries to stable storage."""
    with foreign_os_errors("the folder", own_name(path)):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_folder_fd(fd)
        finally:
            os.close(fd)


def sync_folder_fd(fd: int) -> None:
    """Bring an open folder's entries to stable storage. Raises OSError."""
    try:
        os.fsync(fd)
    except OSError as error:
        # EINVAL: this file system (some FUSE and CIFS mounts) cannot sync folders; nothing more can be done.
        if error.errno != errno.EINVAL:
            raise


def must_have_folder(path: Path) -> None:
    """Raise NotFoundError or RefusedError when the folder of `path`, a new file or folder, cannot be looked at."""
    with foreign_os_errors("the folder", path.parent):
        os.stat(path.parent)


def refuse_symlinks(path: str | PathLike[str]) -> None:
    """Raise InsecureError if a part of `path`, the last one included, is another user's symbolic link.

    Links of root (`/var/run`, macOS's `/tmp`) and of this user are followed as the kernel would, and the same rule
    applies to their targets. The walk ends at a part that does not exist. The owner of a folder on the way can still
    change it afterwards, so the caller opens the last part with O_NOFOLLOW.
    """
    trusted = {0, os.geteuid()}
    pending = list(reversed(Path(os.getcwd(), path).parts))  # keeps `..`: after a link it means the target's parent
    here = ""
    links = 0
    while pending:
        here = os.path.join(here, pending.pop())
        with foreign_os_errors("the path", here):
            try:
                status = os.lstat(here)
            except (FileNotFoundError, NotADirectoryError):
                return
        if not stat.S_ISLNK(status.st_mode):
            continue
        links += 1
        if status.st_uid not in trusted or links > _MAX_LINKS:
            raise InsecureError(f"{shown(here)} is a symbolic link of user {status.st_uid}", "give the real path")
        pending.extend(reversed(Path(os.readlink(here)).parts))
        here = os.path.dirname(here)


def _temporary_name(name: str) -> str:
    """Return `.NAME.<8 hex>.tmp`, with NAME cut at the end of a character so that the whole fits in NAME_MAX bytes."""
    ending = f".{secrets.token_hex(4)}.tmp"
    raw = os.fsencode(name)
    end = min(len(raw), _NAME_MAX - 1 - len(ending))
    while 0 < end < len(raw) and raw[end] & 0xC0 == 0x80:
        end -= 1
    return f".{os.fsdecode(raw[:end])}{ending}"
