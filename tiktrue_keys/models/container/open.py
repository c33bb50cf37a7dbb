"""A container that is to be opened: from a file or an object, all of its parts before its body; from a pipe, what comes
first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import (
    Authorship,
    Front,
    OpenedContainer,
    check_authorship,
    read_container,
)
from tiktrue_keys.models.container.data_key import OpenedDataKey, open_data_key
from tiktrue_keys.models.format.trailer import Trailer
from tiktrue_keys.models.storage.location import Place
from tiktrue_keys.models.storage.protocol import storage_of

_WHAT = "the container"


@contextmanager
def opened_container(place: Place, expected_root: bytes | None = None) -> Iterator[OpenedContainer]:
    """Open the container at `place`, over symbolic links, with the detached header that an object may have.

    Closed at the end of the block. Errors as read_container and those of its storage; `expected_root` (32 bytes):
    IntegrityError for a container that claims another one.
    """
    storage = storage_of(place).real(_WHAT)
    with storage.opened(_WHAT) as readable:
        with foreign_os_errors(_WHAT, str(place)):
            own = read_container(readable)
            container = own.with_detached(storage.detached(own.header.file_id))
        if expected_root is not None and container.root != expected_root:
            raise IntegrityError(f"{shown(str(place))} is another container than the manifest lists")
        yield OpenedContainer(readable, storage.place, container)


def unlock(
    manager: KeyManager, source: OpenedContainer, license_key: License | None, use: Use, *, allow_unsigned: bool
) -> tuple[OpenedDataKey, Authorship]:
    """The data key of a container whose header is authentic and that this keystore signed.

    As open_data_key and check_authorship; an unsigned one only with `allow_unsigned`. Wipe what it returns.
    """
    container = source.container
    opened = open_data_key(manager, container.header, license_key, use)
    try:
        container.authenticate(opened.secret.view)
        return opened, judge(manager, container, container.trailer, allow_unsigned=allow_unsigned)
    except BaseException:
        opened.secret.wipe()
        raise


def judge(manager: KeyManager, front: Front, trailer: Trailer, *, allow_unsigned: bool) -> Authorship:
    """Who made a container whose header is authentic: this keystore, or nobody that can be named.

    As check_authorship, and IntegrityError without a signature when the registry knows that there was one: who holds
    the data key can change everything in a container but this.
    """
    known = manager.container(front.header.file_id)
    if trailer.signature is None and known is not None and known.signed:
        raise IntegrityError("the container's signature was removed", "restore the container from a copy")
    return check_authorship(
        front.header, front.body, trailer, issuers=trusted_issuers(manager), allow_unsigned=allow_unsigned
    )


def trusted_issuers(manager: KeyManager) -> tuple[bytes, ...]:
    """The Ed25519 public keys (32 bytes) whose containers this keystore believes: its own and its pinned issuers'."""
    return manager.trusted_issuers()
