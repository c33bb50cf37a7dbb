"""The gate of outputs: refuses one that would destroy what the program lives on, whatever `force` says.

An output is a file or folder that the caller names for the program to write. Come here before you write one:

    gate = manager.output_gate().also("the container itself", source)
    create_bytes(path, data, gate=gate)

Protected are the host secret, the marks, the license file, the source of the operation, the folder of every keystore,
and files that cannot be made again. Files are compared by device and inode, so that a hard link, a symbolic link and a
bind mount are the same file. The program's own files of fixed names are not outputs.

Does not handle: objects in a storage service; changes by another process after the check.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.file_identity import absolute_path, folders_of, identities, identity_of, listed, same_name
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError

_KEYSTORE, _LOCK = "keystore.db", "keystore.lock"
_MARKS = (".mark", ".reserve")
_FIRST_BYTES = 256
_APPLICATION_AT = 68  # of SQLite's header: the application id
_CHOOSE_ANOTHER = "choose another path"


class FileKind(Enum):
    """What a file is by its first bytes, in words for messages."""

    CONTAINER = "a model container"
    BACKUP = "a keystore or the backup of one"
    SHARE = "an escrow share"
    MANIFEST = "the manifest of an encrypted folder"
    METRICS = "a file of metrics"
    OTHER = "another file"


_CONTAINER = b"TTM1"
_SECOND_SLOT_AT = 32 * 1024  # of a container: its header's copy, good while the first one is damaged
_BEGINNINGS = ((_CONTAINER, FileKind.CONTAINER), (b"# tiktrue-keys escrow ", FileKind.SHARE))
_MANIFEST = re.compile(rb'\{"issuer":"[0-9a-f]{64}","manifest":\{')
_METRICS = b"# HELP tiktrue_keys_"
_SQLITE, _APPLICATION = b"SQLite format 3\0", b"TTK1"
_KEPT = (FileKind.CONTAINER, FileKind.BACKUP, FileKind.SHARE, FileKind.MANIFEST)
"""What may be the only copy of something: replaced by its own kind alone."""

_STORED_APART = (FileKind.BACKUP, FileKind.SHARE)
"""What a thief must not get together with the host secret."""

_MARK = re.compile(
    rb'\{"epoch":[0-9]+,"head":"[0-9a-f]{64}",("heartbeat":[0-9]+,)?"keystore":"[0-9a-f]{32}"'  # canonical JSON
)
_MARK_NAME, _RESERVE_NAME = re.compile(r"[0-9a-f]{32}\.mark"), re.compile(r"[0-9a-f]{32}\.reserve")
_RESERVE_BYTES, _HOST_SECRET_BYTES = 16 * 1024, 32


def kind_of(beginning: bytes, second_slot: bytes = b"") -> FileKind:
    """Return the kind of a file that begins with these bytes; 100 are enough.

    `second_slot` are the bytes at 32 KiB, where a container has the copy of its header.
    """
    for first, kind in _BEGINNINGS:
        if beginning.startswith(first):
            return kind
    if beginning.startswith(_METRICS):
        return FileKind.METRICS
    if beginning.startswith(_SQLITE) and beginning[_APPLICATION_AT:].startswith(_APPLICATION):
        return FileKind.BACKUP
    if _MANIFEST.match(beginning):
        return FileKind.MANIFEST
    return FileKind.CONTAINER if second_slot.startswith(_CONTAINER) else FileKind.OTHER


def marks_in(folder: str | PathLike[str]) -> list[str]:
    """Return the names of the marks of keystores in a folder, sorted."""
    return [name for name in listed(folder) if _MARK_NAME.fullmatch(name)]


@dataclass(frozen=True)
class OutputGate:
    """What outputs must leave alone, beside the folders of keystores.

    `protected` are names for messages, such as "the host secret", and paths: a file, or a folder with all that is in
    it. A file that does not exist protects its path. `marks` are folders whose marks and reserves are protected.
    `host_secret` is the file beside which no backup and no share may lie.
    """

    protected: tuple[tuple[str, Path], ...] = ()
    marks: tuple[Path, ...] = ()
    host_secret: Path | None = None

    def also(self, name: str, path: str | PathLike[str]) -> OutputGate:
        """Return a gate that protects this file or folder too."""
        return self.also_all({name: path})

    def also_all(self, files: Mapping[str, str | PathLike[str]]) -> OutputGate:
        """Return a gate that protects these files and folders too, by their names for messages."""
        more = tuple((name, Path(path)) for name, path in files.items())
        return replace(self, protected=(*self.protected, *more))

    def of_keystore(self, folder: Path, host_secret: Path | None, *marks: Path) -> OutputGate:
        """Return a gate that protects a keystore's folder, its host secret, and the marks in these folders too."""
        own = [("the keystore", folder / _KEYSTORE), ("the lock of the keystore", folder / _LOCK)]
        if host_secret is not None:
            own.append(("the host secret", host_secret))
        own.append(("the folder of the keystore", folder))
        beside = () if host_secret is None else (host_secret.parent,)
        return OutputGate((*self.protected, *own), tuple(dict.fromkeys((*self.marks, *marks, *beside))), host_secret)

    def check(self, output: str | PathLike[str], kind: FileKind = FileKind.OTHER) -> None:
        """Return when a file of that kind, or a folder, may be written to `output`.

        Raises RefusedError when `output` is protected, contains or lies in what is protected, lies in a keystore's
        folder, is the host secret or mark of another keystore, or holds a container, a backup, a share or a manifest
        and the new file is not of the same kind. Metrics replace metrics only. Raises it for a backup or a share in
        the folder of the host secret.
        """
        if "\0" in os.fspath(output):
            return  # opening it fails
        path = absolute_path(output)
        folders = folders_of(path)
        self._must_not_be_protected(output, path, folders)
        for folder in (path, *folders):
            if _is_keystore(folder):
                raise _in_keystore(output, folder)
        _must_not_replace(output, path, kind)
        if kind in _STORED_APART and self._lies_beside_the_host_secret(path):
            raise RefusedError(f"{shown(output)} lies beside the host secret", "choose another disk or folder")

    def check_sources(self, sources: Iterable[str | PathLike[str] | int]) -> None:
        """Return when these files, or file descriptors, may be read as models. Raises RefusedError for a protected one.

        Call it before a file is opened: closing a second descriptor of a keystore drops SQLite's lock.
        """
        names = {identity: name for name, file in self._files() for identity in identities(file)}
        for source in sources:
            identity = identity_of(source)
            if identity in names:
                raise _not_a_model(source, names[identity])
            if not isinstance(source, int) and _is_of_keystore(source):
                raise _not_a_model(source, "a keystore")

    def _must_not_be_protected(self, output: str | PathLike[str], path: str, folders: Iterable[str]) -> None:
        targets, above = identities(path), {identity_of(folder) for folder in folders}
        is_folder = os.path.isdir(path)
        for name, file in self._files():
            found = identities(file)
            if found & targets or (not found and same_name(file, path)):
                raise _refused(f"{shown(output)} is {name}")
            if found & above:
                raise _refused(f"{shown(output)} is inside {name}")
            if is_folder and targets & {identity_of(folder) for folder in folders_of(file)}:
                raise _refused(f"{shown(output)} contains {name}")
        for folder in self.marks:
            if path.endswith(_MARKS) and identity_of(os.path.dirname(path)) == identity_of(folder) is not None:
                raise _refused(f"{shown(output)} has the name of a keystore's mark")

    def _lies_beside_the_host_secret(self, path: str) -> bool:
        if self.host_secret is None:
            return False
        return identity_of(os.path.dirname(path)) == identity_of(os.path.dirname(absolute_path(self.host_secret)))

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield the names and absolute paths of what is protected."""
        for name, path in self.protected:
            yield name, absolute_path(path)
        for folder in self.marks:
            for file in listed(folder):
                if file.endswith(_MARKS):
                    yield "the mark of a keystore", os.path.join(folder, file)


KEYSTORES_ONLY = OutputGate()
"""Protects the folders of keystores, and what is the only copy of something."""


def _must_not_replace(output: str | PathLike[str], path: str, kind: FileKind) -> None:
    if not os.path.isfile(path):
        return  # what is not a regular file is refused where it is written
    beginning, second_slot = _bytes_of_kind(path)
    name = _file_of_a_machine(path, beginning)
    if name is not None:
        raise _refused(f"{shown(output)} is {name}")
    there = kind_of(beginning, second_slot)
    if there is kind or (there not in _KEPT and (kind is not FileKind.METRICS or os.path.islink(path))):
        return
    words = there.value if there in _KEPT else f"not {kind.value} of this program"
    raise not_replaced(output, words)


def not_replaced(output: str | PathLike[str], words: str) -> RefusedError:
    """Return the error of an output that would replace a file of another kind, which `words` name."""
    return RefusedError(f"{shown(output)} is {words}", f"{_CHOOSE_ANOTHER}, or move it away", remedy="not-replaced")


def _file_of_a_machine(path: str, beginning: bytes) -> str | None:
    """Return a name for the mark, reserve or host secret of any keystore, by name and content; None for other files."""
    if _MARK.match(beginning):
        return "the mark of a keystore"
    folder, name = os.path.split(os.path.realpath(path))
    try:
        size = os.stat(path).st_size
    except OSError:
        return None
    if size == _RESERVE_BYTES and _RESERVE_NAME.fullmatch(name):
        return "the reserve of a keystore"
    return "the host secret of a keystore" if size == _HOST_SECRET_BYTES and marks_in(folder) else None


def _bytes_of_kind(path: str) -> tuple[bytes, bytes]:
    """Return the bytes that tell a file's kind, for kind_of; none of a file that cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return b"", b""
    try:
        return os.pread(fd, _FIRST_BYTES, 0), os.pread(fd, len(_CONTAINER), _SECOND_SLOT_AT)
    except OSError:
        return b"", b""
    finally:
        os.close(fd)


def _refused(message: str) -> RefusedError:
    return RefusedError(message, _CHOOSE_ANOTHER, remedy="protected-output")


def _in_keystore(output: str | PathLike[str], folder: str) -> RefusedError:
    return RefusedError(
        f"{shown(output)} is inside {shown(folder)}, which is the folder of a keystore",
        "choose another folder",
        remedy="keystore-folder",
        about={"folder": folder},
    )


def _not_a_model(source: str | PathLike[str] | int, name: str) -> RefusedError:
    what = "the source" if isinstance(source, int) else shown(source)
    return RefusedError(f"{what} is {name}, not a model", "name the file of a model")


def _is_of_keystore(source: str | PathLike[str]) -> bool:
    path = os.path.realpath(source) if os.path.islink(source) else os.fspath(source)
    folder, name = os.path.split(path)
    return name == _KEYSTORE and _is_keystore(folder)


def _is_keystore(folder: str) -> bool:
    """Return whether a keystore is used in the folder. Its lock tells it from a backup of the same name."""
    return os.path.lexists(os.path.join(folder, _KEYSTORE)) and os.path.lexists(os.path.join(folder, _LOCK))
