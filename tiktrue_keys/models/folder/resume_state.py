"""The state file of a resumable folder encryption: one line for each finished file, so that a killed run can resume.

    STATEFILE, 0600, canonical JSON a line:
    {"destination","folder_id","model_id","source","temporary","type":"tiktrue-keys resume","version":1}
    {"file_id","length","mtime_ns","path","root","source_hash"}       an encrypted file
    {"length","mtime_ns","path","sha256","source_hash"}               a file in clear

The lines of a batch of files are written, with one sync, after all of the batch are on stable storage in the temporary
folder. The last line for a path counts; a last line without a newline was cut off by a kill. The file holds no secrets.
It is not trusted: a resumed run checks the files themselves.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.durable import must_have_folder, read_capped, sync_file, sync_folder, write_all
from tiktrue_keys.core.members import Members
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import BusyError, IntegrityError, RefusedError, UnavailableError
from tiktrue_keys.models.folder.swap import FolderPlace
from tiktrue_keys.models.folder.tree import SourceFile, blake3_of, stamp_of
from tiktrue_keys.models.format.header import FILE_ID_LENGTH
from tiktrue_keys.models.format.manifest import ManifestEntry, PlainEntry
from tiktrue_keys.models.format.trailer import ROOT_LENGTH
from tiktrue_keys.models.pipeline.progress import ProgressReport

_TYPE = "tiktrue-keys resume"
_VERSION = 1
_WHAT = "the resume file"
_MAX_LINE = 16384
_MAX_STATE = 256 << 20
_HASH_LENGTH = 32


@dataclass(frozen=True)
class ResumedFolder:
    """The folder being made: absolute paths, the temporary folder's name, the 16-byte folder id."""

    source: str
    destination: str
    temporary: str
    folder_id: bytes
    model_id: str

    def encode(self) -> bytes:
        """Return the first line of the state file."""
        members = {
            "destination": self.destination,
            "folder_id": self.folder_id.hex(),
            "model_id": self.model_id,
            "source": self.source,
            "temporary": self.temporary,
            "type": _TYPE,
            "version": _VERSION,
        }
        return canonical_json(members) + b"\n"


@dataclass(frozen=True)
class DoneFile:
    """A finished file: the BLAKE3 hash of its source (32 bytes), and the result.

    For a container `file_id` is 16 bytes and `content` its root (32 bytes); for a file in clear `file_id` is None and
    `content` its SHA-256.
    """

    path: str
    length: int
    mtime_ns: int
    source_hash: bytes
    file_id: bytes | None
    content: bytes

    def encode(self) -> bytes:
        """Return its line."""
        members: dict[str, Any] = {
            "length": self.length,
            "mtime_ns": str(self.mtime_ns),
            "path": self.path,
            "source_hash": self.source_hash.hex(),
        }
        if self.file_id is None:
            members["sha256"] = self.content.hex()
        else:
            members |= {"file_id": self.file_id.hex(), "root": self.content.hex()}
        return canonical_json(members) + b"\n"


@dataclass(frozen=True)
class SourceSeen:
    """A source before it was read: its size in bytes, modification time in nanoseconds, and BLAKE3 hash (32 bytes)."""

    length: int
    mtime_ns: int
    content: bytes


@dataclass
class ResumeState:
    """The state file, open and locked until `close`. `folder` is None in a new file; `done` is by relative path."""

    kept: ClassVar[bool] = True
    path: Path
    folder: ResumedFolder | None = None
    done: dict[str, DoneFile] = field(default_factory=dict)
    _fd: int = -1
    _adding: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, path: Path) -> ResumeState:
        """Open or create it. Raises BusyError while another process holds it, IntegrityError when it is malformed."""
        must_have_folder(path)
        with foreign_os_errors(_WHAT, path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            state = cls(path, _fd=os.open(path, flags, 0o600))
        try:
            state._lock()
            state._read()
        except BaseException:
            state.close()
            raise
        return state

    @classmethod
    def read(cls, path: Path) -> ResumeState | None:
        """Read it without creating, locking or repairing it; None when it does not exist."""
        if not os.path.lexists(path):
            return None
        state = cls(path)
        state.take(read_capped(path, _MAX_STATE, _WHAT))
        return state

    def begin(self, folder: ResumedFolder) -> None:
        """Write the first line, or compare it. Raises RefusedError when it names another folder or was changed."""
        begun = self.folder
        if begun is None:
            self._append(folder.encode())
            sync_folder(self.path.parent)
            self.folder = folder
            return
        if (begun.source, begun.destination, begun.model_id) != (folder.source, folder.destination, folder.model_id):
            raise RefusedError(
                f"{shown(self.path)} resumes {shown(begun.source)} to {shown(begun.destination)} for {begun.model_id}",
                "choose another state file, or remove this one to start over",
            )
        if not FolderPlace.is_temporary(begun.temporary, Path(begun.destination).name):
            raise RefusedError(f"{shown(self.path)} was changed", "remove it to start over")

    @contextmanager
    def built(self, place: FolderPlace) -> Iterator[Path]:
        """Yield the temporary folder, created if missing. It stays after a failure, for the next run."""
        root = place.temporary
        must_have_folder(place.destination)
        with foreign_os_errors("the output", place.destination):
            with suppress(FileExistsError):
                os.mkdir(root, 0o700)
                os.chmod(root, 0o700)  # regardless of the umask
            if not stat.S_ISDIR(os.lstat(root).st_mode):
                raise RefusedError(f"{shown(root)} is not a folder", f"remove {shown(self.path)} to start over")
        yield root

    def look(self, file: SourceFile, report: ProgressReport) -> SourceSeen:
        """Read a source before it is encrypted."""
        return SourceSeen(*stamp_of(file), blake3_of(file, report))

    def finished(self, entry: ManifestEntry, file: SourceFile, seen: SourceSeen | None) -> DoneFile:
        """Return the line of a finished file. Raises UnavailableError when the source changed meanwhile."""
        assert seen is not None, "the source was looked at"
        if stamp_of(file) != (seen.length, seen.mtime_ns) or entry.length != seen.length:
            raise UnavailableError(
                f"{shown(file.path)} changed while it was read", "encrypt the folder when nothing writes to it"
            )
        return _done_file(entry, seen.mtime_ns, seen.content)

    def add(self, done: Sequence[DoneFile]) -> None:
        """Write the lines of finished files, with one sync. Thread-safe."""
        with self._adding:
            self._append(b"".join(each.encode() for each in done))
            self.done.update((each.path, each) for each in done)

    def remove(self) -> None:
        """Remove the state file after the folder is complete."""
        with foreign_os_errors(_WHAT, self.path):
            os.unlink(self.path)
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Close and unlock the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> ResumeState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise RefusedError(f"{_WHAT} {shown(self.path)} is not a regular file")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise BusyError(f"another process is using {shown(self.path)}", "wait until it has finished") from None

    def _read(self) -> None:
        whole = self.take(read_capped(self.path, _MAX_STATE, _WHAT))
        with foreign_os_errors(_WHAT, self.path):
            os.ftruncate(self._fd, whole)  # removes a line that a kill cut off
            os.lseek(self._fd, whole, os.SEEK_SET)

    def take(self, data: bytes) -> int:
        """Read the complete lines of `data`; return their length. Raises IntegrityError for any other file."""
        whole = data.rfind(b"\n") + 1
        if whole == 0 and data and not _beginning(data):
            raise _malformed(self.path)
        lines = data[:whole].splitlines()
        try:
            if lines:
                self.folder = _folder(_members(lines[0]))
            for line in lines[1:]:
                done = _done(_members(line))
                self.done[done.path] = done
        except IntegrityError as error:
            raise _malformed(self.path) from error
        return whole

    def _append(self, lines: bytes) -> None:
        with foreign_os_errors(_WHAT, self.path):
            write_all(self._fd, lines)
            sync_file(self._fd)


def _done_file(entry: ManifestEntry, mtime_ns: int, source_hash: bytes) -> DoneFile:
    if isinstance(entry, PlainEntry):
        return DoneFile(entry.path, entry.length, mtime_ns, source_hash, None, entry.sha256)
    return DoneFile(entry.path, entry.length, mtime_ns, source_hash, entry.file_id, entry.root)


def _malformed(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{shown(path)} is not a resume file, or it was damaged",
        "choose another path; if this was the resume file, remove it to start over",
    )


def _beginning(data: bytes) -> bool:
    """Return whether `data` can be the start of a first line, so that an unrelated file is not overwritten."""
    start = b'{"destination":'
    return data[: len(start)] == start[: len(data)]


def _members(line: bytes) -> Members:
    return Members.parse(line, limit=_MAX_LINE, what=_WHAT)


def _folder(members: Members) -> ResumedFolder:
    members.form(_TYPE)
    members.version(_VERSION)
    folder = ResumedFolder(
        source=members.any_text("source", _MAX_LINE),
        destination=members.any_text("destination", _MAX_LINE),
        temporary=members.any_text("temporary", _MAX_LINE),
        folder_id=members.hexadecimal("folder_id", FILE_ID_LENGTH),
        model_id=members.any_text("model_id"),
    )
    members.done()
    for name, path in (("source", folder.source), ("destination", folder.destination)):
        if not os.path.isabs(path):
            raise members.malformed(name)
    if not folder.model_id:
        raise members.malformed("model_id")
    if "/" in folder.temporary or folder.temporary in ("", ".", ".."):
        raise members.malformed("temporary")
    return folder


def _done(members: Members) -> DoneFile:
    plain = members.has("sha256")
    done = DoneFile(
        path=members.any_text("path", _MAX_LINE),
        length=members.whole("length"),
        mtime_ns=members.decimal("mtime_ns"),
        source_hash=members.hexadecimal("source_hash", _HASH_LENGTH),
        file_id=None if plain else members.hexadecimal("file_id", FILE_ID_LENGTH),
        content=members.hexadecimal("sha256" if plain else "root", ROOT_LENGTH),
    )
    members.done()
    return done
