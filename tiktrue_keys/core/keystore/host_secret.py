"""The file of a host secret: 32 random bytes that stay on this machine when a keystore is copied.

Come here for who may reach the file, and for its creation; secret_place.py says which file a keystore is opened with.
It lies outside the keystore's folder and its backups. It is created only when a keystore is created or recovered, and
never replaced: a missing or different one means the wrong machine and is not a reason to create one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from tiktrue_keys.core.durable import create_bytes, read_capped
from tiktrue_keys.core.file_identity import listed
from tiktrue_keys.core.keystore.high_water import mark_path
from tiktrue_keys.core.keystore.permissions import FILE_MODE, make_private_folder, must_be_private
from tiktrue_keys.core.machine.surroundings import Surroundings, read_surroundings
from tiktrue_keys.core.outputs import marks_in
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import InsecureError, IntegrityError, NotFoundError, RefusedError

LENGTH = 32
OWN_SUFFIX = ".secret"
"""The end of the name of a secret that belongs to one keystore alone; the keystore's id is before it."""


def default_path() -> Path:
    """Root: /var/lib/tiktrue-keys-host/secret; anybody else: the platform's state folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/tiktrue-keys-host/secret")
    from platformdirs import user_state_path

    try:
        return user_state_path("tiktrue-keys-host") / "secret"
    except RuntimeError:  # the user has no home folder
        raise RefusedError(
            "this user has no home folder for a host secret", "pass host_secret_file", remedy="name-host-secret"
        ) from None


def must_be_kept_private(path: Path, surroundings: Surroundings | None = None) -> Path:
    """Return the path to read the secret at `path` from.

    It has mode 0600 and is this user's, or it is on a read-only mount that this container was given, as a Kubernetes
    Secret is: there root owns it, others may read but not write it, and symbolic links may lead to it within that
    mount; only root may write the folders between the mount point and it.
    Raises InsecureError when another user could read or replace it, NotFoundError without one. This is the one place
    that judges the file of a host secret.
    """
    try:
        must_be_private(path, FILE_MODE)
    except InsecureError:
        given = _given(path, surroundings or read_surroundings())
        if given is None:
            raise
        return given
    return path


def _given(path: Path, surroundings: Surroundings) -> Path | None:
    real, folder = os.path.realpath(path), os.path.realpath(path.parent)
    if not surroundings.is_given(real) or not surroundings.is_one_mount(real, folder):
        return None
    try:
        status = os.stat(real)
    except OSError as error:
        raise NotFoundError(f"{path} does not exist") from error
    is_safe = stat.S_ISREG(status.st_mode) and status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return Path(real) if is_safe and all(map(_is_closed, surroundings.folders_below_mount(real))) else None


def _is_closed(folder: str) -> bool:
    status = os.stat(folder)
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(path: Path) -> SecretBuffer:
    """Return the 32 bytes at `path`. Raises NotFoundError, InsecureError, or IntegrityError when they are not 32."""
    data = read_capped(must_be_kept_private(path), LENGTH, "the host secret")
    if len(data) != LENGTH:
        raise IntegrityError(f"the host secret at {path} has {len(data)} bytes instead of {LENGTH}")
    return SecretBuffer.copy_of(data)


def read_or_create(path: Path, *, named: bool, keystore_id: bytes | None = None) -> SecretBuffer:
    """Return the secret at `path` for a keystore that is new here; create it exclusively if there is none.

    The folder of a path that was not `named` has to be private. `keystore_id` names a keystore that was bound before
    and gets a new secret. Raises RefusedError when the secret is gone but the mark of another keystore lies there.
    """
    try:
        return read(path)
    except NotFoundError:
        pass
    _must_not_be_needed(path, keystore_id)
    if not path.parent.exists() or not named:
        make_private_folder(path.parent)
    try:
        with SecretBuffer.random(LENGTH) as secret:
            create_bytes(path, bytes(secret.view), FILE_MODE, gate=None)
    except RefusedError:  # another process created it between the two steps: use that one
        if not path.exists():
            raise
    return read(path)


def _must_not_be_needed(path: Path, keystore_id: bytes | None) -> None:
    """Raise RefusedError when another keystore has its mark beside the secret that is not there.

    A mark does not name its secret: unless the keystore has its own, it may need any file of 32 bytes in the folder.
    This one counts too, when another process has created it meanwhile.
    """
    own = {} if keystore_id is None else {mark_path(path.parent, keystore_id).name}
    names = {name for name in listed(path.parent) if _has_length_of_secret(path.with_name(name))}
    served = {Path(name).with_suffix(".mark").name for name in names if name.endswith(OWN_SUFFIX)}
    if not set(marks_in(path.parent)).difference(own, served):
        return
    if any(not name.endswith(OWN_SUFFIX) for name in names):
        return
    raise RefusedError(
        f"the host secret {path} is gone, and keystores on this machine still need it",
        "put it back from where it is kept, or pass a host_secret_file in another folder",
        remedy="host-secret-gone",
    )


def _has_length_of_secret(path: Path) -> bool:
    with contextlib.suppress(OSError):
        found = path.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_size == LENGTH
    return False
