"""Tells which file a path leads to: by device and inode, through every link, and by name where no file is yet.

Come here to compare two paths. Does not handle: the content of files (core/outputs.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from os import PathLike

Identity = tuple[int, int]
"""Device and inode."""


def absolute_path(path: str | PathLike[str]) -> str:
    """Return an absolute path that keeps `..`, which after a symbolic link is the parent of the link's target."""
    text = os.fspath(path)
    return text if os.path.isabs(text) else os.path.join(os.getcwd(), text)


def folders_of(path: str) -> Iterable[str]:
    """Return the folders that a path lies in: as written, as the kernel follows it, and those of a link's target."""
    folder = os.path.dirname(path)
    starts = [os.path.realpath(folder)]
    if os.pardir not in folder.split(os.sep):  # else what stands before `..` is not a parent
        starts.append(folder)
    if os.path.islink(path):
        starts.append(os.path.dirname(os.path.realpath(path)))
    found: dict[str, None] = {}
    for start in starts:
        while start not in found:
            found[start] = None
            start = os.path.dirname(start)
    return found


def identities(path: str) -> set[Identity]:
    """Return the device and inode of the file and, for a symbolic link, of the link; empty without a file."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return set()
    identity = found.st_dev, found.st_ino
    if not stat.S_ISLNK(found.st_mode):
        return {identity}
    target = identity_of(path)
    return {identity} if target is None else {identity, target}


def identity_of(path: str | PathLike[str] | int) -> Identity | None:
    """Return the device and inode of what a path or descriptor leads to; None without a file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def same_name(one: str, other: str) -> bool:
    """Return whether two paths are the same name in the same folder, with or without a file there."""
    (one_folder, one_name), (other_folder, other_name) = os.path.split(one), os.path.split(other)
    folder = identity_of(one_folder) if one_name == other_name else None
    return folder is not None and folder == identity_of(other_folder)


def listed(folder: str | PathLike[str]) -> list[str]:
    """Return the sorted names in a folder; none when it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
