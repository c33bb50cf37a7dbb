"""A container in object storage: its parts before the body, or its header alone, with its detached header over them."""

from __future__ import annotations

from collections.abc import Callable

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError
from tiktrue_keys.models.container import read_container
from tiktrue_keys.models.container_source import OpenedContainer
from tiktrue_keys.models.detached import counting_slots, detached_place, read_detached, with_detached
from tiktrue_keys.models.header import Header
from tiktrue_keys.models.places import Place, Url
from tiktrue_keys.models.seal_container import Signer
from tiktrue_keys.models.slots import HEADER_SIZE, Slots, decode_slots
from tiktrue_keys.models.storage import RemoteObject, read_small
from tiktrue_keys.models.trailer import make_signature

WHAT = "the container"


def remote_container(url: Url) -> OpenedContainer:
    """Open the container at `url`; errors as read_container, counting_slots, storage_errors."""
    found = RemoteObject(url, WHAT)
    container = read_container(found)
    return OpenedContainer(found, url, with_detached(container, read_detached(url, container.header.file_id)))


def remote_slots(url: Url) -> Slots:
    """The header that counts, not authenticated; two requests, of 64 KiB each."""
    own = _own_slots(url)
    return counting_slots(own, read_detached(url, own.current.header.file_id))


class RemoteHeader:
    """A WritableHeader: what is written goes beside the body."""

    def __init__(self, url: Url) -> None:
        self.place: Place = url
        self._url = url

    def read(self) -> Slots:
        """The header that counts, and what lies beside the body now."""
        self._own = _own_slots(self._url)
        self._detached = detached_place(self._url, self._own.current.header.file_id)
        self._slots = counting_slots(self._own, self._detached.found)
        return self._slots

    def authenticate(self, data_key: memoryview) -> None:
        """IntegrityError unless both headers are authentic under the 32-byte data key."""
        self._slots.current.authenticate(data_key)
        self._own.current.authenticate(data_key)

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        """As DetachedPlace.rewrite."""
        self._detached.rewrite(self._slots, header, data_key)


def signable_container(url: Url) -> tuple[OpenedContainer, Callable[[Signer], None]]:
    """Open the container at `url` to sign it; the second one does so."""
    found = RemoteObject(url, WHAT)
    own = read_container(found)
    detached = detached_place(url, own.header.file_id)
    container = with_detached(own, detached.found)

    def add(signer: Signer) -> None:
        signature = make_signature(
            container.header, container.body, container.trailer, issuer=signer.issuer, sign=signer.sign
        )
        detached.sign(container.slots, container.trailer, signature)

    return OpenedContainer(found, url, container), add


def _own_slots(url: Url) -> Slots:
    data = read_small(url, HEADER_SIZE, WHAT)
    if data is None:
        raise NotFoundError(f"{WHAT} {shown(str(url))} does not exist")
    return decode_slots(data)
