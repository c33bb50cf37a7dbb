"""Watches folders for files that are made or written in them: inotify(7), by the C library."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_MODIFY, _MOVED_TO, _CREATE = 0x2, 0x80, 0x100
_EVENT = struct.Struct("iIII")


class Watch:
    """Every folder of a tree as it is now; a folder that is made later shows up as made itself."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[int, Path] = {}
        self._fd = -1

    def __enter__(self) -> Watch:
        library = ctypes.CDLL(None, use_errno=True)
        self._fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0, os.strerror(ctypes.get_errno())
        for folder in [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]:
            number = library.inotify_add_watch(self._fd, os.fsencode(folder), _MODIFY | _MOVED_TO | _CREATE)
            assert number > 0, os.strerror(ctypes.get_errno())
            self._folders[number] = folder
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def written(self) -> set[str]:
        """Relative paths of what was made or written since the last call."""
        found: set[str] = set()
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                number, _, _, length = _EVENT.unpack_from(data, at)
                name = os.fsdecode(data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
                found.add(str((self._folders[number] / name).relative_to(self._root)))
                at += _EVENT.size + length
