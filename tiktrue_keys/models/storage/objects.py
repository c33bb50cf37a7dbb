"""Objects in a storage service as a Storage (protocol.py): reading them, and the header that may lie beside one.

Does not handle: the requests themselves and their errors (object_requests.py), uploads (upload.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, NotFoundError
from tiktrue_keys.models.format import detached_header
from tiktrue_keys.models.format.detached_header import Detached, counting_slots, decode_detached
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots
from tiktrue_keys.models.storage.deadline import PATIENCE, within_seconds
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import RemoteObject, look_up, objects_below, read_small

_Result = TypeVar("_Result")
_CONTAINER, _OUTPUT = "the container", "the output"


@dataclass(frozen=True)
class ObjectStorage:
    """A URL; its methods are described in protocol.py."""

    place: Url

    @property
    def group(self) -> str:
        return self.place.storage

    @property
    def _beside(self) -> Url:
        """Where the container's detached header lies."""
        return self.place.with_name(self.place.name + detached_header.SUFFIX)

    def real(self, what: str) -> ObjectStorage:
        return self

    @contextmanager
    def opened(self, what: str) -> Iterator[RemoteObject]:
        yield RemoteObject(self.place, what)

    def exists(self) -> bool:
        return look_up(self.place, _OUTPUT) is not None

    def is_folder(self) -> bool:
        return not self.place.name

    def read_capped(self, limit: int, what: str) -> bytes:
        data = self._first(limit + 1, what)
        if len(data) > limit:
            raise IntegrityError(f"{what} is longer than {limit} bytes")
        return data

    def below(self, suffix: str) -> Iterator[Url]:
        return (url for url in objects_below(self.place) if url.name.endswith(suffix))

    def slots(self) -> HeaderSlots:
        own = self._own_slots()
        return counting_slots(own, self.detached(own.current.header.file_id))

    def detached(self, file_id: bytes) -> Detached | None:
        data = read_small(self._beside, detached_header.LENGTH + 1, detached_header.WHAT)
        return decode_detached(file_id, data)

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        return within_seconds(PATIENCE, work)

    def _own_slots(self) -> HeaderSlots:
        """The slots before the body, which a detached header may supersede."""
        return decode_slots(self._first(HEADER_SIZE, _CONTAINER))

    def _first(self, length: int, what: str) -> bytes:
        data = read_small(self.place, length, what)
        if data is None:
            raise NotFoundError(f"{what} {shown(str(self.place))} does not exist")
        return data
