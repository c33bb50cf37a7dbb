"""A container in object storage that is about to be signed, and its detached header that is about to be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError
from tiktrue_keys.models.container.container import OpenedContainer, read_container
from tiktrue_keys.models.container.seal import ContainerSigner
from tiktrue_keys.models.format import detached_header
from tiktrue_keys.models.format.detached_header import Detached, decode_detached
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots, next_slot
from tiktrue_keys.models.format.trailer import (
    SIGNATURE_PLACE_LENGTH,
    Signature,
    Trailer,
    make_signature,
    signature_place,
)
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import RemoteObject, SmallObject, read_small

WHAT = "the container"


@dataclass(frozen=True)
class DetachedPlace:
    """Where a detached header is about to be written, and what lay there when it was read last."""

    found: Detached | None
    _object: SmallObject

    def rewrite(self, slots: HeaderSlots, header: Header, data_key: memoryview) -> None:
        """Put `header` in the place of that of `slots`, which count now and are authentic; as SmallObject.write."""
        raw = next_slot(slots, header, data_key)
        place = self.found.place if self.found else bytes(SIGNATURE_PLACE_LENGTH)
        self._object.write(Detached(header.file_id, decode_slots(raw * 2), place).encode())

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


def own_slots(url: Url) -> HeaderSlots:
    """Return the slots before the body, without the detached header; NotFoundError."""
    data = read_small(url, HEADER_SIZE, WHAT)
    if data is None:
        raise NotFoundError(f"{WHAT} {shown(str(url))} does not exist")
    return decode_slots(data)
