"""Judges who may replace a file: every folder from / to it, along the path as given and along each symbolic link.

Come here before a file that a setting names is run, loaded or believed. A user who can write to one folder on the way
chooses what lies at its end. Does not handle: access control lists.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tiktrue_keys.errors import InsecureError

_MAX_LINKS = 40  # path_resolution(7)
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def must_be_trusted(path: Path) -> Path:
    """Return the real path of a file that only root and this user can change or replace.

    Raises InsecureError that names what another user can write to, OSError when there is no such file.
    """
    real = "/"
    for folder, real in _steps(os.path.join(os.getcwd(), path)):
        _must_be_closed(folder, real)
    status = os.stat(real)
    _must_be_owned(real, status)
    if status.st_mode & _BY_OTHERS:
        raise _written_by_others(real)
    return Path(real)


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Yield each folder that is looked up on the way to `path`, and the entry that is looked up in it."""
    names, folder, links = deque(path.split("/")), "/", 0
    while names:
        name = names.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            folder = os.path.dirname(folder)
            continue
        entry = os.path.join(folder, name)
        yield folder, entry
        if not stat.S_ISLNK(os.lstat(entry).st_mode):
            folder = entry
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(entry)
        folder = "/" if target.startswith("/") else folder
        names.extendleft(reversed(target.split("/")))


def _must_be_closed(folder: str, entry: str) -> None:
    """Raise InsecureError when another user can put another file in the place of `entry`.

    In a sticky folder, as /tmp, others cannot replace what is ours.
    """
    status = os.stat(folder)
    _must_be_owned(folder, status)
    if not status.st_mode & _BY_OTHERS:
        return
    if not status.st_mode & stat.S_ISVTX:
        raise _written_by_others(folder)
    _must_be_owned(entry, os.lstat(entry))


def _must_be_owned(path: str, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise InsecureError(f"{path} belongs to another user (uid {status.st_uid})", f"chown -h root '{path}'")


def _written_by_others(path: str) -> InsecureError:
    return InsecureError(f"{path} can be written by others", f"chmod go-w '{path}'")
