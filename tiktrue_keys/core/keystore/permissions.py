"""Checks who can reach the keystore: folders 0700, files 0600, owned by this user, no symbolic link on the way.

Come here for InsecureError. The folder of a host secret or of marks may be readable by others, not writable. Paths are
examined with stat; the database is never opened, because a second open and close in the process would drop SQLite's
lock.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tiktrue_keys.core.durable import refuse_symlinks
from tiktrue_keys.core.machine.surroundings import Surroundings, read_surroundings
from tiktrue_keys.errors import InsecureError, NotFoundError, RefusedError, UnavailableError

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(path: Path) -> None:
    """Create `path` and its missing parents with mode 0700. An existing folder has to be private already.

    Raises InsecureError when it is not, RefusedError or UnavailableError when it cannot be created.
    """
    refuse_symlinks(path)
    try:
        for missing in reversed([part for part in (path, *path.parents) if not part.exists()]):
            missing.mkdir(mode=FOLDER_MODE, exist_ok=True)
            missing.chmod(FOLDER_MODE)  # whatever the umask
        if not any(path.iterdir()) and path.stat().st_uid == os.geteuid():
            path.chmod(FOLDER_MODE)  # ours and empty: an earlier mkdir gave it a wider mode
    except FileExistsError:
        raise RefusedError(f"{path} is not a folder") from None
    except PermissionError:
        raise RefusedError(
            f"{path} cannot be made by this user", "run as the owner, or choose another folder", remedy="not-our-folder"
        ) from None
    except OSError as error:
        if error.errno == errno.EROFS:
            raise RefusedError(
                f"{path} is on a read-only file system", "mount a volume there, or choose another folder"
            ) from None
        raise UnavailableError(f"{path} cannot be made: {error.strerror}") from error
    must_be_private(path, FOLDER_MODE)


def must_be_private(path: Path, mode: int) -> None:
    """Raise InsecureError unless this user owns `path` and it grants nothing beyond `mode`.

    `mode` is 0700 for a folder and 0600 for a regular file; anything else at the path is refused too. Raises
    NotFoundError when it does not exist, RefusedError when this user cannot look at it.
    """
    refuse_symlinks(path.parent)
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{path} does not exist") from None
    except PermissionError:
        raise RefusedError(f"{path} is not readable by this user", "run as its owner") from None
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise NotFoundError(f"{str(path)[:200]!r} cannot be looked up: {error}") from None
    if stat.S_ISLNK(status.st_mode):
        raise InsecureError(f"{path} is a symbolic link", "name the real path")
    if not (stat.S_ISDIR(status.st_mode) if mode == FOLDER_MODE else stat.S_ISREG(status.st_mode)):
        raise InsecureError(f"{path} is not a {'folder' if mode == FOLDER_MODE else 'regular file'}")
    if status.st_uid != os.geteuid():
        raise _of_another_user(path, status.st_uid)
    if stat.S_IMODE(status.st_mode) & ~mode & 0o777:
        raise InsecureError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod {mode:o} '{path}'"
        )


def _of_another_user(path: Path, owner: int) -> InsecureError:
    words = f"{path} belongs to another user (uid {owner})"
    name = _name_of(owner)
    if os.geteuid() == 0 and name:
        return InsecureError(words, f"run as {name}", remedy="run-as-owner", about={"user": name})
    return InsecureError(words, f"run as that user, or chown it to uid {os.geteuid()}")


def _name_of(user: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(user).pw_name
    except (ImportError, KeyError):  # another system, or a user that no database has
        return ""


def must_not_be_writable_by_others(folder: Path, surroundings: Surroundings | None = None) -> None:
    """Raise InsecureError when another user than root may create, replace or remove files in `folder`.

    A folder that does not exist passes, and root's whatever its mode on a read-only mount that this container was
    given, as a Kubernetes Secret's is. Outside a container a read-only mount proves nothing: others may see the same
    folder through another mount. This is the one place that judges the folders of host secrets and marks.
    Their parents are not judged, except for symbolic links.
    """
    refuse_symlinks(folder)
    try:
        status = folder.stat()
    except OSError:
        return
    if status.st_uid not in (0, os.geteuid()):
        raise InsecureError(
            f"the folder {folder} belongs to another user (uid {status.st_uid})",
            f"give it to root, or to uid {os.geteuid()}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not _is_given(folder, surroundings):
        raise InsecureError(
            f"the folder {folder} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod go-w '{folder}'",
        )


def _is_given(folder: Path, surroundings: Surroundings | None) -> bool:
    return (surroundings or read_surroundings()).is_given(os.path.realpath(folder))


def must_lie_outside(path: Path, keystore: Path, what: str = "the host secret") -> None:
    """Raise InsecureError for a host secret or marks inside the keystore's folder: they would be copied with it."""
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(keystore)):
        raise InsecureError(
            f"{what} {path} lies inside the keystore's folder", "keep it apart: a copied folder must not open"
        )
