"""The SQLite file: how it is opened and locked, and what its errors mean.

Come here for SQLite's settings; this module knows no records. The file has a rollback journal with synchronous=EXTRA:
power-cut tests on ext4 and xfs lost acknowledged commits with the default FULL and none with EXTRA. WAL is not used:
SQLite 3.7.0 to 3.51.2 can corrupt it, and Python on Debian 12 comes with 3.40.1.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.lock import other_writer
from tiktrue_keys.core.keystore.permissions import FILE_MODE, FOLDER_MODE, must_be_private
from tiktrue_keys.errors import (
    BusyError,
    DiskFullError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
)

FILE_NAME = "keystore.db"

_CACHE_TO_READ = "PRAGMA cache_size = -4096"  # KiB; a reader of every row needs each page once
_CACHE_TO_WRITE = "PRAGMA cache_size = -65536"  # allocated as needed; a batch beyond it would sync its journal early
_PRAGMAS = (
    "PRAGMA journal_mode = DELETE",
    "PRAGMA synchronous = EXTRA",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    _CACHE_TO_READ,
)

_FULL = ("disk is full", "no space")
_READ_ONLY = ("readonly", "read-only")


def connect(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Return a connection with every setting that durability and integrity depend on; `timeout` is in seconds."""
    with sqlite_errors(path):
        # Without mode=rw SQLite could create a file with the umask's permissions.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def large_cache(connection: sqlite3.Connection) -> Iterator[None]:
    """Let the connection hold the pages of a large transaction in memory during the block, and free them after it."""
    connection.execute(_CACHE_TO_WRITE)
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute(_CACHE_TO_READ)


def create_file(path: Path) -> None:
    """Create an empty, private database file unless there is one; a file left by a killed creation is used as it is.

    Raises InsecureError for an existing file that is not private, UnavailableError when none can be created.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    except FileExistsError:
        must_be_private(path, FILE_MODE)
        return
    except OSError as error:
        raise UnavailableError(f"{path} cannot be made: {error.strerror}") from error
    with contextlib.closing(os.fdopen(descriptor, "rb")):
        os.chmod(path, FILE_MODE)


def is_keystore(folder: Path, *, timeout: float) -> bool:
    """Return whether `folder` holds a keystore.

    The file of a killed creation does not count, even with SQLite's header.
    """
    path = folder / FILE_NAME
    try:
        if path.lstat().st_size == 0:
            return False
    except (OSError, ValueError):
        return False
    with sqlite_errors(path), contextlib.closing(connect(path, timeout=timeout)) as connection:
        return schema.has_tables(connection)


def remove_empty(path: Path) -> None:
    """Remove the file of a creation that failed. A file that is not empty stays."""
    with contextlib.suppress(OSError):
        if path.lstat().st_size == 0:
            path.unlink()


def open_existing(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Return a connection to the keystore file at `path`.

    Raises NotFoundError when there is none, InsecureError when it is not private, IntegrityError when it is not ours.
    """
    try:
        must_be_private(path.parent, FOLDER_MODE)
        must_be_private(path, FILE_MODE)
    except NotFoundError:
        raise no_keystore(path.parent) from None
    connection = connect(path, timeout=timeout)
    try:
        with sqlite_errors(path):
            if not schema.has_tables(connection):
                raise no_keystore(path.parent)
            schema.must_be_ours(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def no_keystore(folder: Path) -> NotFoundError:
    """The error that every command gives where no keystore is."""
    return NotFoundError(f"no keystore in {folder}", "generate() makes one", remedy="no-keystore")


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's exceptions into ours. Our own pass unchanged."""
    try:
        yield
    except TikTrueKeysError:
        raise
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message, and sqlite3 cannot decode it
        raise IntegrityError(f"{path} is damaged", **schema.RESTORE) from error


def translated(error: sqlite3.Error, path: Path) -> TikTrueKeysError:
    """Return our error for an SQLite error, worded for an operator."""
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        holder = other_writer(path.parent)
        return BusyError(f"{path} is in use by {holder}", "wait, or pass a longer lock_timeout", remedy="wait-longer")
    if any(part in text for part in _FULL):
        return DiskFullError(f"no space left for {path}", "free some space and run it again: nothing was changed")
    if any(part in text for part in _READ_ONLY):
        return RefusedError(f"{path} cannot be written", "the file or its file system is read-only")
    if "unable to open" in text:
        return UnavailableError(f"{path} cannot be opened")
    if "disk i/o" in text:
        return UnavailableError(f"input/output error on {path}", "check the disk", remedy="check-disk")
    if isinstance(error, sqlite3.DatabaseError):
        return IntegrityError(f"{path} is damaged ({text})", **schema.RESTORE)
    return UnavailableError(f"{path}: {text}")
