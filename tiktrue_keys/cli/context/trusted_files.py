"""Reads small files that control the program (license, configuration), after checking who could have written them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.core.machine.surroundings import read_surroundings
from tiktrue_keys.errors import InsecureError, NotFoundError, RefusedError, UnavailableError, UsageError


@dataclass(frozen=True)
class TrustedFile:
    """The bytes of a file that only its reader and root can write."""

    data: bytes
    read_by_others: bool


def read_trusted(path: Path, *, limit: int, what: str) -> TrustedFile:
    """Return at most `limit` bytes of a regular file or pipe, following symbolic links, which secret stores use.

    Raises InsecureError when another user could write it, NotFoundError, RefusedError when it cannot be read,
    UsageError when it is too long or not a file, UnavailableError on an I/O error.
    """
    name = f"the {what} {escaped(str(path))}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{name} does not exist") from None
    except PermissionError:
        raise RefusedError(
            f"{name} is not readable by this user", "run as its owner, or give it to the user who runs this"
        ) from None
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{name} cannot be opened: {_reason(error)}") from error
    try:
        facts = os.fstat(descriptor)
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISFIFO(facts.st_mode)):
            raise UsageError(f"{name} is not a file", "name a regular file or a pipe")
        _must_be_ours(facts, name, path)
        data = _read_all(descriptor, limit + 1)
    except OSError as error:
        raise UnavailableError(f"{name} cannot be read: {_reason(error)}") from error
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise UsageError(f"{name} is longer than {limit} bytes", f"check that this is the {what}")
    read_by_others = bool(facts.st_mode & 0o044) and not read_surroundings().is_given(os.path.realpath(path))
    return TrustedFile(data, read_by_others=read_by_others)


def _read_all(descriptor: int, limit: int) -> bytes:
    """Read up to the end, at most `limit` bytes; a pipe delivers it in pieces."""
    data = b""
    while len(data) < limit:
        piece = os.read(descriptor, limit - len(data))
        if not piece:
            break
        data += piece
    return data


def _must_be_ours(facts: os.stat_result, name: str, path: Path) -> None:
    if stat.S_ISFIFO(facts.st_mode):
        return
    if facts.st_mode & 0o022:
        raise InsecureError(f"{name} can be written by others", f"chmod go-w {escaped(str(path))}")
    if facts.st_uid not in (0, os.geteuid()):
        raise InsecureError(
            f"{name} belongs to another user (uid {facts.st_uid})", "give it to root or to the user who runs this"
        )


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "bad name"
