"""How far the audit records have gone out to each sink and event program: a small file beside the keystore.

Come here for what survives between two commands. The file is not part of the keystore, so that telling others of a
record needs no record; a file that is gone or damaged begins again with the records of the present command. Only one
process at a time tells others of records: it holds a lock on the keystore's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.durable import read_capped, replace_bytes
from tiktrue_keys.errors import TikTrueKeysError

FILE_NAME = "keystore.cursors"
_LIMIT = 64 * 1024
_TRIES, _PAUSE = 25, 0.02  # half a second in all


@dataclass(frozen=True)
class Cursor:
    """The place in the log up to which a receiver has got everything.

    `position` is the number of the next record, `epoch` the one in which the last one was written. `failed_since` and
    `reason` are of the present failure, `lost` how many events were given up since it began.
    """

    epoch: int
    position: int
    failed_since: int | None = None
    reason: str = ""
    lost: int = 0


class Cursors:
    """The cursors by the name of their receiver, while this process holds them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._before = read_cursors(folder)
        self._now = dict(self._before)

    def get(self, name: str) -> Cursor | None:
        """Return a receiver's cursor, None for a new one."""
        return self._now.get(name)

    def put(self, name: str, cursor: Cursor) -> None:
        """Set a receiver's cursor."""
        self._now[name] = cursor

    def keep_only(self, prefix: str, names: tuple[str, ...]) -> None:
        """Drop the receivers whose name begins with `prefix` and is not among `names`: they left the configuration."""
        self._now = {name: each for name, each in self._now.items() if not name.startswith(prefix) or name in names}

    def save(self) -> None:
        """Replace the file if a cursor changed. Raises what replace_bytes raises."""
        if self._now != self._before:
            replace_bytes(
                self._path, canonical_json({name: asdict(each) for name, each in self._now.items()}), gate=None
            )
            self._before = dict(self._now)


def read_cursors(folder: Path) -> Mapping[str, Cursor]:
    """Return the cursors in a keystore's folder; none where the file is gone or damaged."""
    try:
        found = json.loads(read_capped(folder / FILE_NAME, _LIMIT, "the cursors"))
        cursors = {str(name): Cursor(**members) for name, members in found.items()}
    except (TikTrueKeysError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return cursors if all(_is_sound(each) for each in cursors.values()) else {}


@contextlib.contextmanager
def held_cursors(folder: Path) -> Iterator[Cursors | None]:
    """Yield the cursors, saved at the end; None while another process holds them, which then tells of our records."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _locked(descriptor):
            yield None
            return
        cursors = Cursors(folder)
        yield cursors
        cursors.save()
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Wait for a moment: another process that tells of its records now may have looked before ours were there."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE)
    return False


def is_misplaced(cursor: Cursor, size: int, epoch: int) -> bool:
    """Return whether a cursor is beyond a log of `size` records whose present epoch is `epoch`.

    A cursor of an earlier epoch may be: the log that a restore brought back can be shorter.
    """
    return cursor.epoch > epoch or (cursor.epoch == epoch and cursor.position > size)


def _is_sound(cursor: Cursor) -> bool:
    counts = (cursor.epoch, cursor.position, cursor.lost, cursor.failed_since or 0)
    return all(type(count) is int and count >= 0 for count in counts) and isinstance(cursor.reason, str)
