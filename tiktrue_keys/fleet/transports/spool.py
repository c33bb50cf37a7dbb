"""`spool:DIR`: a folder that both sides can access (a mount, rsync, a memory stick).

    DIR/<issuer>/<round, 10 digits>/<node id>    lines for one node
    DIR/<issuer>/<round>/index                   signed: `<node id> <epoch> <stream> <number>`, the highest of each node
    DIR/<issuer>/acknowledgements/<node id>      one line

DIR is created by its administrator: a name that is mistyped, or a mount that is missing, is an outage. A round is
written under a temporary name, synced once, renamed, and its parent synced: it exists completely or not at all. A user
who may write to DIR can add anything to it; spool_files.py opens what is there.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.outputs import KEYSTORES_ONLY
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import InsecureError, NotFoundError, RefusedError, UnavailableError, UsageError
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Junk, Place, Posted
from tiktrue_keys.fleet.transports.spool_files import (
    lines_of,
    make_folder,
    opened_folder,
    read_file,
    replace_file,
)
from tiktrue_keys.fleet.transports.spool_rounds import publish_rounds, remove_consumed, round_names

_ACKNOWLEDGEMENTS = "acknowledgements"
_POLL = 0.2


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
    """A spool folder. It must exist; `publish` and `acknowledge` create what they need in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: tuple[int, int] | None = None  # the box at the last `collect`; `wait` compares with it

    def publish(self, issuer: str, number: int, posts: Iterable[Posted], sign: Signer) -> None:
        """Write a round under the first free number from `number` on. Without posts nothing is written."""
        with self._writing(issuer) as box:
            publish_rounds(box, issuer, number, posts, sign)

    def collect(self, issuer: str, node_id: str, after: Place, junk: Junk) -> Iterator[bytes]:
        """Yield every line for the node, one file at a time."""
        with self._reading(issuer) as box:
            self._seen = None if box is None else _state(box)
            if box is None:
                return
            for name in round_names(box):
                try:
                    with opened_folder(box, name) as folder:
                        data = read_file(folder, node_id, junk)
                except FileNotFoundError:  # its issuer has removed it
                    continue
                except OSError:
                    junk.add("round that cannot be read")
                    continue
                yield from lines_of(data or b"", junk)

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace whatever has the name of the node's acknowledgement."""
        with self._writing(issuer) as box, opened_folder(box, _ACKNOWLEDGEMENTS) as folder:
            replace_file(folder, node_id, line + b"\n")

    def acknowledgements(self, issuer: str, node_ids: Iterable[str], junk: Junk) -> Iterator[tuple[str, bytes]]:
        """Yield each node's file. A file that is not an acknowledgement is skipped."""
        with self._reading(issuer) as box, contextlib.ExitStack() as stack:
            if box is None:
                return
            try:
                folder = stack.enter_context(opened_folder(box, _ACKNOWLEDGEMENTS))
            except FileNotFoundError:
                return
            for node_id in node_ids:
                line = (read_file(folder, node_id, junk) or b"").removesuffix(b"\n")
                if len(line) > MAX_LINE:
                    junk.add("line that is too long")
                elif line:
                    yield node_id, line

    def tidy(self, issuer: str, consumed: Mapping[str, Place], identity_key: bytes) -> None:
        """Remove the rounds of this issuer that are not needed any more."""
        with self._reading(issuer) as box:
            if box is not None:
                remove_consumed(box, issuer, consumed, identity_key)

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Watch the issuer's folder: each round changes it."""
        end = time.monotonic() + seconds
        while True:
            with self._reading(issuer) as box:
                if (None if box is None else _state(box)) != self._seen:
                    return
            if time.monotonic() >= end:
                return
            time.sleep(max(min(_POLL, end - time.monotonic()), 0))

    def close(self) -> None:
        """Do nothing: a spool has no connection."""

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Yield a descriptor of DIR, which its administrator may have made a symbolic link."""
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise UnavailableError(
                f"the spool {shown(self.folder)} is not a folder that exists",
                f"mount it, or create it with mkdir {shown(self.folder)}",
                remedy="create-spool",
                about={"folder": str(self.folder)},
            ) from None
        except OSError as error:
            raise _unreadable(self.folder, error) from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _reading(self, issuer: str) -> Iterator[int | None]:
        """Yield a descriptor of the issuer's folder, or None before there is one."""
        with self._opened() as spool, contextlib.ExitStack() as stack:
            try:
                try:
                    box = stack.enter_context(opened_folder(spool, issuer))
                except FileNotFoundError:
                    box = None
                yield box
            except OSError as error:
                raise _unreadable(self.folder / issuer, error) from None

    @contextlib.contextmanager
    def _writing(self, issuer: str) -> Iterator[int]:
        """Yield a descriptor of the issuer's folder, which is created with DIR's mode. Its errors are outages."""
        path = self.folder / issuer
        try:
            with self._opened() as spool, foreign_os_errors("the spool", path):
                mode = os.fstat(spool).st_mode & (0o777 | stat.S_ISVTX)
                _make_missing(spool, issuer, mode)
                with opened_folder(spool, issuer) as box:
                    _make_missing(box, _ACKNOWLEDGEMENTS, mode)
                    yield box
        except (NotFoundError, RefusedError, InsecureError) as error:
            raise UnavailableError(error.message, **error.advice) from error


def _make_missing(parent: int, name: str, mode: int) -> None:
    """Create a folder unless the name is taken. The mode of one that another user or process made is left alone."""
    with contextlib.suppress(FileExistsError):
        make_folder(parent, name, mode)


def _unreadable(path: Path, error: OSError) -> UnavailableError:
    reason = (error.strerror or str(error)).lower()
    return UnavailableError(f"the spool {shown(path)} cannot be read: {reason}", "look at its kind, owner and mode")


def _state(box: int) -> tuple[int, int]:
    """Return what changes with every round: the folder's time, and how many rounds it has."""
    return os.fstat(box).st_mtime_ns, sum(1 for _ in round_names(box))
