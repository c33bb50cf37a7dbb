"""Signs a container that CI has sealed for this keystore: in place, after reading every byte of its body once.

Who signs vouches for the root that CI told by another way. Does not handle: containers that a keystore sealed, which
are always signed; one without its signature was tampered with.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.files import FileAct
from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.durable import foreign_os_errors, shown
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import IntegrityError, UsageError
from tiktrue_keys.models.container import Authorship, Container, add_signature, read_container, verify_body
from tiktrue_keys.models.container_source import judge
from tiktrue_keys.models.data_keys import held_keys, open_data_key
from tiktrue_keys.models.decrypt import ReadOptions
from tiktrue_keys.models.encrypt import keystore_signer
from tiktrue_keys.models.file_acts import LOCK_TIMEOUT, ProgressReport, counted, file_act, noted, recorded_path
from tiktrue_keys.models.locking import locked_container
from tiktrue_keys.models.tracking import track, tracked_place
from tiktrue_keys.models.trailer import ROOT_LENGTH

ACT = "sign"


@dataclass(frozen=True, kw_only=True)
class Signed(ActResult):
    """A container that this keystore vouches for; `changed` False: it did already. `root` is 32 bytes."""

    path: Path
    file_id: bytes
    key: ManagedKey
    length: int
    root: bytes


def parse_root(text: str) -> bytes:
    """The 32 bytes of a root as it is printed; UsageError."""
    try:
        root = bytes.fromhex(text)
    except ValueError:
        root = b""
    if len(root) != ROOT_LENGTH or not text.isalnum():
        raise UsageError("a root has 64 hex digits", "encrypt-model prints it where the container is made")
    return root


def sign_model(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    expected_root: bytes,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Signed:
    """Sign the container at `path` when its root is `expected_root` (32 bytes) and its whole body has that root.

    IntegrityError when the root or the body is another, or a keystore's own container has lost its signature; as
    decrypt_model for the key. The body is read once and not copied; one write of 112 bytes, synced.
    """
    with foreign_os_errors("the container", path):
        real = Path(os.path.realpath(path, strict=True))
    recorded = recorded_path(real)
    with locked_container(real, lock_timeout) as fd, ExitStack() as stack:
        with noted(manager, ACT, operation_id):
            with foreign_os_errors("the container", real):
                container = read_container(fd)
            if container.root != expected_root:
                raise IntegrityError(
                    f"{shown(path)} has another root than expected", f"it is {container.root.hex()}: check who made it"
                )
            use = ReadOptions(allow_deprecated).use
            opened = stack.enter_context(open_data_key(manager, container.header, license_key, use))
            container.authenticate(opened.secret.view)
            authorship = judge(manager, container, container.trailer, allow_unsigned=True)
            if authorship is Authorship.UNSIGNED:
                with foreign_os_errors("the container", real):
                    verify_body(fd, container, progress=counted(progress, container.length))
                if progress is not None:
                    progress(container.length, container.length)
        operation, changed, notices = operation_id, authorship is Authorship.UNSIGNED, opened.notices
        if changed:
            operation, more = _sign(manager, fd, container, recorded, operation_id)
            notices = (*notices, *more)
        track(manager, container.header, recorded, held_keys(manager, container.header), signed=True)
        return Signed(
            operation_id=operation or new_operation_id(),
            changed=changed,
            warnings=notices,
            path=real,
            file_id=container.header.file_id,
            key=opened.key,
            length=container.length,
            root=container.root,
        )


def _sign(
    manager: KeyManager, fd: int, container: Container, path: str, operation_id: str | None
) -> tuple[str, tuple[Notice, ...]]:
    """The act itself. The registry learns that the container is signed only when it is."""
    header = container.header
    keys = frozenset(held_keys(manager, header))
    place, known = tracked_place(manager, header, path), manager.container(header.file_id)
    act = FileAct(ACT, header.file_id, path, keys, keys, model_id=header.model_id, name=header.name)
    signer = keystore_signer(manager)
    with file_act(manager, act, operation_id, keys=keys) as outcome:
        outcome.detail = {"root": container.root.hex(), "length": container.length}
        with foreign_os_errors("the container", path):
            add_signature(fd, container, issuer=signer.issuer, sign=signer.sign)
    if place.is_copy and known is not None:
        manager.register(known)  # the row goes on following the other one
    return outcome.operation_id, place.notices
