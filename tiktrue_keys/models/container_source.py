"""A container that is to be opened: from a file, all of its parts before its body; from a pipe, what comes first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.durable import foreign_os_errors, opened_regular
from tiktrue_keys.core.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.container import Authorship, Container, check_authorship, read_container
from tiktrue_keys.models.data_keys import OpenedDataKey, open_data_key


@dataclass(frozen=True)
class ContainerFile:
    """A container file that is open for reading; its parts hang together, nothing is authentic yet."""

    fd: int
    path: Path
    container: Container


@contextmanager
def container_file(path: Path) -> Iterator[ContainerFile]:
    """Open the container at `path`, over symbolic links; closed at the end of the block. Errors as read_container."""
    with foreign_os_errors("the container", path):
        real = Path(os.path.realpath(path, strict=True))
    with opened_regular(real, "the container") as fd:
        with foreign_os_errors("the container", path):
            container = read_container(fd)
        yield ContainerFile(fd, real, container)


def unlock(
    manager: KeyManager, source: ContainerFile, license_key: License | None, use: Use, *, allow_unsigned: bool
) -> tuple[OpenedDataKey, Authorship]:
    """The data key of a container whose header is authentic and that this keystore signed.

    As open_data_key and check_authorship; an unsigned one only with `allow_unsigned`. Wipe what it returns.
    """
    container = source.container
    opened = open_data_key(manager, container.header, license_key, use)
    try:
        container.authenticate(opened.secret.view)
        authorship = check_authorship(
            container.header,
            container.body,
            container.trailer,
            issuers=trusted_issuers(manager),
            allow_unsigned=allow_unsigned,
        )
    except BaseException:
        opened.secret.wipe()
        raise
    return opened, authorship


def trusted_issuers(manager: KeyManager) -> tuple[bytes, ...]:
    """The Ed25519 public keys (32 bytes) whose containers this keystore believes: its own."""
    return (manager.issuer,)


def use_for_reading(*, allow_deprecated: bool) -> Use:
    """What a reader asks of a key."""
    return Use.DECRYPT_DEPRECATED if allow_deprecated else Use.DECRYPT
