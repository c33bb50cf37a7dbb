"""What has an output's name before an operation, and whether something else has it afterwards.

An intent records the answer as text: ABSENT, or `name=value` pairs joined by `&`, percent-encoded. No clock is asked: a
file system and a storage have their own, and some count whole seconds.

Does not handle: what the object holds. Of two writers after the intent, both are taken for the operation.
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
    """The identity of an object by what its storage says of it; ABSENT for None."""
    if found is None:
        return ABSENT
    said = {name: found[name] for name in _OF_OBJECTS if found.get(name) not in (None, "")}
    return urlencode({name: _text(value) for name, value in said.items()})


def file_identity(path: str | PathLike[str]) -> str:
    """The identity of the file or folder that has this name, itself and not what it links to.

    ABSENT where os.path.lexists says that there is none.
    """
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return ABSENT
    said = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}
    return urlencode({_INODE: found.st_ino, **said})


def is_another_object(before: str, now: str) -> bool:
    """Whether an object was written since: something that both identities name is different."""
    if ABSENT in (before, now):
        return now != ABSENT
    old, new = dict(parse_qsl(before)), dict(parse_qsl(now))
    return any(old[name] != new[name] for name in old.keys() & new.keys())


def is_another_file(before: str, now: str) -> bool:
    """Whether another file was given the name since.

    A rename does that: another inode, with other times. A changed mode or content leaves the inode, and a file system
    that numbers its inodes afresh leaves the times.
    """
    if ABSENT in (before, now):
        return is_another_object(before, now)
    old, new = dict(parse_qsl(before)), dict(parse_qsl(now))
    return old.pop(_INODE, "") != new.pop(_INODE, "") and old != new


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
