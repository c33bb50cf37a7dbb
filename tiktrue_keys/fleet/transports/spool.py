"""`spool:DIR`: a folder that both sides can access (a mount, rsync, a memory stick).

    DIR/<issuer>/<round, 10 digits>/<node id>     lines for one node
    DIR/<issuer>/<round>/index                    `<node id> <epoch> <stream> <number>`, the highest of each node
    DIR/<issuer>/acknowledgements/<node id>       one line

A round is written under a temporary name, synced once, renamed, and its parent synced: it exists completely or not at
all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from tiktrue_keys.core.durable import read_capped, replace_bytes, sync_folder, write_all
from tiktrue_keys.core.outputs import KEYSTORES_ONLY
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import (
    InsecureError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
)
from tiktrue_keys.fleet.transports.interface import MAX_LINE, MAX_LINES, Place, Posted

_ROUND = re.compile(r"[0-9]{10}")
_INDEX = "index"
_ACKNOWLEDGEMENTS = "acknowledgements"
_MAX_FILE = 64 * 1024 * 1024
_MODE = 0o644  # nodes run as other users; sealed and signed lines reveal no secret
_POLL = 0.2
_GONE = (sys.maxsize, sys.maxsize, sys.maxsize)  # a node that is no longer pinned needs no lines
_TRIES = 100


def open_spool(rest: str, credentials: Mapping[str, str]) -> Spool:
    """Return the spool in the folder `rest`.

    Raises UsageError for credentials, or a NUL byte in the name; RefusedError for a folder in that of a keystore.
    """
    if credentials:
        raise UsageError("a spool takes no credentials", "the folder's permissions decide who may write to it")
    if "\0" in rest:
        raise UsageError("the name of the spool's folder contains a NUL byte", "use spool:DIR")
    folder = Path(rest).absolute()
    KEYSTORES_ONLY.check(folder)
    return Spool(folder)


class Spool:
    """A spool folder. The first `publish` or `acknowledge` creates it, below a parent that exists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: list[Path] = []  # the newest round at the last `collect`; `wait` compares with it

    def publish(self, issuer: str, number: int, posts: Iterable[Posted]) -> None:
        """Write a round. Without posts nothing is written."""
        with _outages():
            self._publish(issuer, number, posts)

    def _publish(self, issuer: str, number: int, posts: Iterable[Posted]) -> None:
        parent = self._issuer(issuer, make=True)
        temporary = parent / f".{secrets.token_hex(8)}.tmp"
        with foreign_os_errors("the spool", parent):
            _make(temporary)
        try:
            with foreign_os_errors("the spool", temporary):
                if _write_round(temporary, posts):
                    _sync_tree(temporary)
                    self._rename(temporary, parent, number)
                    sync_folder(parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def collect(self, issuer: str, node_id: str, after: Place) -> list[bytes]:
        """Return every line for the node, oldest round first."""
        found: list[bytes] = []
        self._seen = self._rounds(issuer)[-1:]
        for each in self._rounds(issuer):
            with contextlib.suppress(NotFoundError):
                data = read_capped(each / node_id, _MAX_FILE, "the spool's file")
                found += [line for line in data.split(b"\n") if 0 < len(line) <= MAX_LINE]
            if len(found) >= MAX_LINES:
                break
        return found[:MAX_LINES]

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's file."""
        with _outages():
            folder = self._issuer(issuer, make=True) / _ACKNOWLEDGEMENTS
            replace_bytes(folder / node_id, line + b"\n", _MODE, gate=None, what="the acknowledgement")

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield each node's file. A file that cannot be read is skipped."""
        self._must_be_possible()
        folder = self._issuer(issuer, make=False) / _ACKNOWLEDGEMENTS
        for node_id in node_ids:
            with contextlib.suppress(TikTrueKeysError):
                yield node_id, read_capped(folder / node_id, MAX_LINE, "the acknowledgement").removesuffix(b"\n")

    def tidy(self, issuer: str, consumed: Mapping[str, Place]) -> None:
        """Remove whole rounds that are not needed any more."""
        for each in self._rounds(issuer):
            if all(place <= consumed.get(node_id, _GONE if node_id else (0, 0, 0)) for node_id, place in _index(each)):
                shutil.rmtree(each, ignore_errors=True)

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Watch the issuer's folder: each round changes it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._rounds(issuer)[-1:] in ([], self._seen):
            time.sleep(max(min(_POLL, end - time.monotonic()), 0))

    def close(self) -> None:
        """Do nothing: a spool has no connection."""

    def _issuer(self, issuer: str, *, make: bool) -> Path:
        folder = self.folder / issuer
        if make and not (folder / _ACKNOWLEDGEMENTS).is_dir():
            with foreign_os_errors("the spool", self.folder):
                with contextlib.suppress(FileExistsError):
                    _make(self.folder)
                mode = os.stat(self.folder).st_mode & 0o1777
                for each in (folder, folder / _ACKNOWLEDGEMENTS):
                    each.mkdir(exist_ok=True)
                    with contextlib.suppress(PermissionError):  # another user's folder: its owner sets the mode
                        os.chmod(each, mode)
        return folder

    def _must_be_possible(self) -> None:
        """Raise UnavailableError for a spool that cannot be created. One that is not created yet counts as empty."""
        if not self.folder.is_dir() and (self.folder.exists() or not self.folder.parent.is_dir()):
            raise UnavailableError(f"the spool {self.folder} is not available", "mount it, or use another")

    def _rounds(self, issuer: str) -> list[Path]:
        folder = self._issuer(issuer, make=False)
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            if not self.folder.is_dir():
                raise UnavailableError(
                    f"the spool {self.folder} is not available", "mount it, or use another"
                ) from None
            return []
        except OSError as error:
            words = f"the spool {folder} cannot be read: {error.strerror}"
            raise UnavailableError(words, "ask its owner for read access") from None
        return [folder / name for name in sorted(names) if _ROUND.fullmatch(name)]

    def _rename(self, temporary: Path, parent: Path, least: int) -> None:
        """Give the round the next number. When another publisher takes that number first, try the one after it."""
        for _ in range(_TRIES):
            rounds = self._rounds(parent.name)
            number = max(least, int(rounds[-1].name) + 1) if rounds else max(least, 1)
            try:
                os.rename(temporary, parent / f"{number:010d}")
            except OSError:
                if not (parent / f"{number:010d}").exists():
                    raise
            else:
                return
        raise UnavailableError(
            "the spool's next round number keeps being taken", "check which other process writes to it"
        )


def _make(folder: Path) -> None:
    """Create a folder with the umask's permissions, always with full access for this user."""
    folder.mkdir()
    folder.chmod(folder.stat().st_mode & 0o777 | 0o700)


@contextlib.contextmanager
def _outages() -> Iterator[None]:
    """Turn the errors of a spool that is missing, closed or full into UnavailableError."""
    try:
        yield
    except (NotFoundError, RefusedError, InsecureError) as error:
        raise UnavailableError(error.message, **error.advice) from error


def _write_round(folder: Path, posts: Iterable[Posted]) -> int:
    """Write one file for each node, and the index. Return the number of nodes."""
    places: list[str] = []
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for node_id, group in groupby(posts, key=attrgetter("node_id")):
            ours = list(group)
            _write(descriptor, node_id, b"".join(post.line + b"\n" for post in ours))
            epoch, stream, number = max(post.place for post in ours)
            places.append(f"{node_id} {epoch} {stream} {number}\n")
        if places:
            _write(descriptor, _INDEX, "".join(places).encode())
    finally:
        os.close(descriptor)
    return len(places)


def _write(folder: int, name: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, _MODE, dir_fd=folder)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    """Sync all files of a round with one call: ten thousand fsyncs would take longer than everything else together."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if sys.platform != "linux":
            os.sync()
        elif ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "syncfs failed")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _index(folder: Path) -> list[tuple[str, Place]]:
    """Return node id and highest place of each node in a round. A damaged index keeps its round."""
    found: list[tuple[str, Place]] = []
    try:
        lines = read_capped(folder / _INDEX, _MAX_FILE, "the spool's index").decode("ascii").splitlines()
        for line in lines:
            node_id, epoch, stream, number = line.split(" ")
            found.append((node_id, (int(epoch), int(stream), int(number))))
    except (TikTrueKeysError, ValueError):
        return [("", (sys.maxsize, 0, 0))]
    return found
