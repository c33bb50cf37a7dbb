"""Opens an encrypted model as a seekable file for a program, without writing a plaintext file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from os import PathLike

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.keystore.subject import Subject
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import RevokedError
from tiktrue_keys.models.container.container import known_leaves
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.model_file import ModelFile
from tiktrue_keys.models.container.open import Expected, opened_container, unlock
from tiktrue_keys.models.file.decrypt import ReadOptions
from tiktrue_keys.models.registry.intent import noted
from tiktrue_keys.models.registry.plaintext_approval import release
from tiktrue_keys.models.registry.tracking import track
from tiktrue_keys.models.storage.location import Place, Url, object_place, recorded_path
from tiktrue_keys.models.storage.readable import kept_open, let_go

_LOG = logging.getLogger("tiktrue_keys.models")
_LOG.addHandler(logging.NullHandler())
_SETTLED = 2 * 10**9
"""Nanoseconds: a change of a file that is older has changed its ctime. No file system has a coarser clock."""


def open_model(
    path: str | PathLike[str] | Url,
    manager: KeyManager,
    license_key: License | None = None,
    *,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
    expected_root: bytes | None = None,
) -> ModelFile:
    """Return the plaintext of a container as a seekable read-only binary file. The caller closes it.

    The use is recorded once, before the file is returned. Each segment is verified before its bytes are returned. Reads
    raise RevokedError once the key is revoked. The warnings of the opening are in `warnings` of the returned file, and
    are logged. Raises the errors of decrypt_model.
    """
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    opened = open_expected(object_place(path), manager, license_key, options, expected_root)
    log_warnings(opened.warnings)
    return opened


def log_warnings(warnings: Iterable[Notice]) -> None:
    """Log each warning under the name tiktrue_keys.models. Prints nothing where the application has no handler."""
    for notice in warnings:
        _LOG.warning("%s: %s", notice.code, notice.message)


def open_expected(
    place: Place, manager: KeyManager, license_key: License | None, options: ReadOptions, expected: Expected
) -> ModelFile:
    """Open the container at `place` as open_model does, if it is the expected one."""
    with ExitStack() as stack:
        with noted(manager, "open-model", None, Subject(paths=(str(place),))):
            found = stack.enter_context(opened_container(place, expected))
            container = found.container
            opened, verdict = unlock(
                manager,
                found,
                license_key,
                options.use,
                allow_unsigned=options.allow_unsigned,
                releases=options.releases(expected),
            )
            stack.enter_context(opened)
        leaves = known_leaves(found.fd, container)
        recorded = recorded_path(found.path)
        keys = held_keys(manager, container.header)
        track(manager, container.header, recorded, keys, verdict)
        detail = {"file_id": container.header.file_id.hex(), "path": recorded, **options.detail}
        proposal = release(recorded, "the program that opens it", [opened.key], detail)
        manager.record_use("open-model", key=opened.key, detail=detail, proposal=proposal)
        fd = kept_open(found.fd)
        try:
            check = revocation_check(manager, opened.key)
            return ModelFile(fd, container, opened.secret.view, leaves=leaves, check=check, warnings=opened.notices)
        except BaseException:
            let_go(fd)
            raise


def revocation_check(
    manager: KeyManager, key: ManagedKey, *, now: Callable[[], int] = time.time_ns
) -> Callable[[], None]:
    """Return a function that raises RevokedError once the key is revoked, NotFoundError once the keystore is gone.

    It reads the keystore only after its file changed, which takes microseconds to check. A change within one clock tick
    of the file system would go unnoticed, so the keystore is read each time while its file changed recently.
    """
    database = manager.path / FILE_NAME
    seen: tuple[int, ...] = ()

    def check() -> None:
        nonlocal seen
        stamp: tuple[int, ...]
        try:
            found = os.stat(database)
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        except OSError:
            stamp = ()
        if stamp and stamp == seen:
            return
        current = manager.find(key.key_id)
        if current.revoked_at is not None or current.destroyed_at is not None:
            raise RevokedError(f"key {key.key_id} was revoked while the model was open", key_id=key.key_id)
        seen = stamp if stamp and now() - max(stamp[3:]) > _SETTLED else ()

    return check
