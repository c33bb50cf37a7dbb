"""Identifies the file or object at an output's name, so that settling can tell whether an operation replaced it.

An intent records the identity as text: ABSENT, or `name=value` pairs joined by `&`, percent-encoded. This machine's
clock is not used: file systems and storages have their own clocks, some with a resolution of a second.

Does not handle: the content. A write by another process after the intent is taken for one of the operation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from os import PathLike
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tiktrue_keys.core.containers.intents import ABSENT

_OF_OBJECTS = (
    *("size", "VersionId", "generation", "ETag", "etag", "md5Hash", "content_md5"),
    *("LastModified", "last_modified", "updated", "mtime", "modified", "created"),
)
"""What the packages of fsspec call the size, version, entity tag and times of an object."""
_INODE = "inode"


def object_identity(found: Mapping[str, Any] | None) -> str:
    """Return the identity of an object from its storage's metadata; ABSENT for None."""
    if found is None:
        return ABSENT
    said = {name: found[name] for name in _OF_OBJECTS if found.get(name) not in (None, "")}
    return urlencode({name: _text(value) for name, value in said.items()})


def file_identity(path: str | PathLike[str]) -> str:
    """Return the identity of the file or folder at `path`, without following symbolic links; ABSENT without one."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return ABSENT
    said = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}
    return urlencode({_INODE: found.st_ino, **said})


def is_another_object(before: str, now: str) -> bool:
    """Return whether the object was written since: a value that both identities have differs."""
    if ABSENT in (before, now):
        return now != ABSENT
    old, new = dict(parse_qsl(before)), dict(parse_qsl(now))
    return any(old[name] != new[name] for name in old.keys() & new.keys())


def is_another_file(before: str, now: str) -> bool:
    """Return whether another file was renamed to the name since.

    That changes both the inode and the times. A change of mode or content keeps the inode; a file system that renumbers
    its inodes keeps the times.
    """
    if ABSENT in (before, now):
        return is_another_object(before, now)
    old, new = dict(parse_qsl(before)), dict(parse_qsl(now))
    return old.pop(_INODE, "") != new.pop(_INODE, "") and old != new


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
