"""A container in object storage: its parts before the body, or its header alone, with its detached header over them."""

from __future__ import annotations

from collections.abc import Callable

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError
from tiktrue_keys.models.container.container import OpenedContainer, read_container
from tiktrue_keys.models.container.detached import counting_slots, detached_place, read_detached, with_detached
from tiktrue_keys.models.container.seal import ContainerSigner
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots
from tiktrue_keys.models.format.trailer import make_signature
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.objects import RemoteObject, read_small

WHAT = "the container"


def remote_container(url: Url) -> OpenedContainer:
    """Open the container at `url`; errors as read_container, counting_slots, storage_errors."""
    found = RemoteObject(url, WHAT)
    container = read_container(found)
    return OpenedContainer(found, url, with_detached(container, read_detached(url, container.header.file_id)))


def remote_slots(url: Url) -> HeaderSlots:
    """The header that counts, not authenticated; two requests, of 64 KiB each."""
    own = own_slots(url)
    return counting_slots(own, read_detached(url, own.current.header.file_id))


def signable_container(url: Url) -> tuple[OpenedContainer, Callable[[ContainerSigner], None]]:
    """Open the container at `url` to sign it; the second one does so."""
    found = RemoteObject(url, WHAT)
    own = read_container(found)
    detached = detached_place(url, own.header.file_id)
    container = with_detached(own, detached.found)

    def add(signer: ContainerSigner) -> None:
        signature = make_signature(
            container.header, container.body, container.trailer, issuer=signer.issuer, sign=signer.sign
        )
        detached.sign(container.slots, container.trailer, signature)

    return OpenedContainer(found, url, container), add


def own_slots(url: Url) -> HeaderSlots:
    """Return the slots before the body, without the detached header; NotFoundError."""
    data = read_small(url, HEADER_SIZE, WHAT)
    if data is None:
        raise NotFoundError(f"{WHAT} {shown(str(url))} does not exist")
    return decode_slots(data)
