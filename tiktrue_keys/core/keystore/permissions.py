"""Who may reach the keystore: 0700 folders, 0600 files, owned by whoever runs, no symbolic link in the way.

Stats paths and never opens the database: a second open and close in the process would drop SQLite's lock.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tiktrue_keys.core.durable import refuse_symlinks
from tiktrue_keys.errors import InsecureError, NotFoundError, RefusedError, UnavailableError

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(path: Path) -> None:
    """Create `path` and what lacks above it, 0700; an existing one must be private already."""
    refuse_symlinks(path)
    try:
        for missing in reversed([part for part in (path, *path.parents) if not part.exists()]):
            missing.mkdir(mode=FOLDER_MODE, exist_ok=True)
            missing.chmod(FOLDER_MODE)  # whatever the umask
        if not any(path.iterdir()) and path.stat().st_uid == os.geteuid():
            path.chmod(FOLDER_MODE)  # ours and empty: an earlier mkdir made it wider
    except FileExistsError:
        raise RefusedError(f"{path} is not a folder") from None
    except PermissionError:
        raise RefusedError(
            f"{path} cannot be made by this user", "run as the owner, or choose another folder", remedy="not-our-folder"
        ) from None
    except OSError as error:
        raise UnavailableError(f"{path} cannot be made: {error.strerror}") from error
    must_be_private(path, FOLDER_MODE)


def must_be_private(path: Path, mode: int) -> None:
    """Raise InsecureError where anybody but the owner has rights on `path`, or the owner is not whoever runs."""
    refuse_symlinks(path.parent)
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{path} does not exist") from None
    except PermissionError:
        raise RefusedError(f"{path} is not readable by this user", "run as its owner") from None
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise NotFoundError(f"{str(path)[:200]!r} cannot be looked up: {error}") from None
    if stat.S_ISLNK(found.st_mode):
        raise InsecureError(f"{path} is a symbolic link", "name the real path")
    if not (stat.S_ISDIR(found.st_mode) if mode == FOLDER_MODE else stat.S_ISREG(found.st_mode)):
        raise InsecureError(f"{path} is not a {'folder' if mode == FOLDER_MODE else 'regular file'}")
    if found.st_uid != os.geteuid():
        raise InsecureError(
            f"{path} belongs to another user (uid {found.st_uid})",
            f"run as that user, or chown it to uid {os.geteuid()}",
        )
    if stat.S_IMODE(found.st_mode) & ~mode & 0o777:
        raise InsecureError(
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod {mode:o} '{path}'"
        )
