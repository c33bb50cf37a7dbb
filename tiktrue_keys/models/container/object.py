"""A container in object storage that is about to be signed, and its detached header that is about to be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.models.container.container import OpenedContainer, read_container
from tiktrue_keys.models.container.seal import ContainerSigner
from tiktrue_keys.models.format import detached_header
from tiktrue_keys.models.format.detached_header import Detached, decode_detached
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.format.trailer import (
    Signature,
    Trailer,
    make_signature,
    signature_place,
)
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import RemoteObject, SmallObject

WHAT = "the container"


@dataclass(frozen=True)
class DetachedPlace:
    """Where a detached header is about to be written, and what lay there when it was read last."""

    found: Detached | None
    _object: SmallObject

    def sign(self, slots: HeaderSlots, trailer: Trailer, signature: Signature) -> None:
        """Put a signature of the trailer's root beside the slots that count now."""
        file_id, place = slots.current.header.file_id, signature_place(trailer.root, signature)
        self._object.write(Detached(file_id, slots, place).encode())


def detached_place(container: Url, file_id: bytes) -> DetachedPlace:
    """Read the detached header of a container in order to write it; of two at once the second one is BusyError."""
    small = SmallObject(container.with_name(container.name + detached_header.SUFFIX), detached_header.WHAT)
    return DetachedPlace(decode_detached(file_id, small.read(detached_header.LENGTH + 1)), small)


def signable_container(url: Url) -> tuple[OpenedContainer, Callable[[ContainerSigner], None]]:
    """Open the container at `url` to sign it; the second one does so."""
    found = RemoteObject(url, WHAT)
    own = read_container(found)
    detached = detached_place(url, own.header.file_id)
    container = own.with_detached(detached.found)

    def add(signer: ContainerSigner) -> None:
        signature = make_signature(
            container.header, container.body, container.trailer, issuer=signer.issuer, sign=signer.sign
        )
        detached.sign(container.slots, container.trailer, signature)

    return OpenedContainer(found, url, container), add
