"""Removes a folder and everything below it, however deep another party has nested it.

Use this instead of shutil.rmtree, which recurses: a thousand levels are more than Python's stack holds, and their path
may be longer than a system call takes.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from itertools import count
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(root: Path | str, *, dir_fd: int | None = None) -> None:
    """Remove the folder `root`, which may be relative to `dir_fd`; do nothing where there is none.

    Symbolic links are removed, not followed.
    Each folder below is renamed into `root` before it is emptied, so that one level is the deepest. Whatever cannot be
    removed stays, without an error.
    """
    with suppress(OSError):
        top = os.open(root, _FOLDER, dir_fd=dir_fd)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(root, dir_fd=dir_fd)


def _empty(top: int) -> None:
    waiting = _without_files(top)
    names = map(f".{secrets.token_hex(8)}.{{}}".format, count())
    while waiting:
        name = waiting.pop()
        with suppress(OSError):
            folder = os.open(name, _FOLDER, dir_fd=top)
            try:
                for below in _without_files(folder):
                    new = next(names)
                    os.rename(below, new, src_dir_fd=folder, dst_dir_fd=top)
                    waiting.append(new)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _without_files(folder: int) -> list[str]:
    """Remove the files of a folder, and return the names of the folders in it."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
                continue
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
    return folders
