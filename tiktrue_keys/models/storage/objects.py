"""Implements Storage (protocol.py) for objects in a storage service: reads and creates them and detached headers.

Does not handle: the requests themselves and their errors (object_requests.py), uploads (upload.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from tiktrue_keys.core.containers.intents import ABSENT, FileIntent
from tiktrue_keys.core.outputs import FileKind, OutputGate, not_replaced
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.format import detached_header
from tiktrue_keys.models.format.detached_header import Detached, counting_slots, decode_detached
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots, next_slot
from tiktrue_keys.models.format.trailer import SIGNATURE_PLACE_LENGTH
from tiktrue_keys.models.storage.deadline import PATIENCE, within_seconds
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import (
    RemoteObject,
    SmallObject,
    discard_uploads,
    look_up,
    modified,
    objects_below,
    read_small,
    remove_object,
)
from tiktrue_keys.models.storage.output_identity import is_another_object, object_identity
from tiktrue_keys.models.storage.readable import Readable
from tiktrue_keys.models.storage.upload import Upload

_Result = TypeVar("_Result")
_CONTAINER, _OUTPUT, _TEMPORARY = "the container", "the output", "the temporary object"


@dataclass(frozen=True)
class ObjectStorage:
    """A URL; its methods are described in protocol.py."""

    place: Url

    @property
    def group(self) -> str:
        return self.place.storage

    def real(self, what: str) -> ObjectStorage:
        return self

    @contextmanager
    def opened(self, what: str) -> Iterator[RemoteObject]:
        yield RemoteObject(self.place, what)

    source = opened

    def is_open(self, readable: Readable) -> bool:
        return isinstance(readable, RemoteObject) and readable.url == self.place

    @contextmanager
    def reserved(self, *, force: bool, lock_timeout: float, gate: OutputGate, kind: FileKind) -> Iterator[ObjectOutput]:
        replaced, before = None, self.identity()
        if before != ABSENT and not force:
            words = f"{_OUTPUT} {shown(str(self.place))} exists already"
            raise RefusedError(words, "pass force=True, or choose another name", remedy="output-exists")
        if before != ABSENT:
            with suppress(IntegrityError):  # not a container, or a damaged one
                replaced = self.slots().current.header
        if replaced is not None and kind is not FileKind.CONTAINER:
            raise not_replaced(str(self.place), FileKind.CONTAINER.value)
        yield ObjectOutput(Upload(self.place, replace=force), before, replaced)

    def identity(self) -> str:
        return object_identity(look_up(self.place, _OUTPUT))

    def exists(self) -> bool:
        return self.identity() != ABSENT

    def is_folder(self) -> bool:
        return not self.place.name

    def read_capped(self, limit: int, what: str) -> bytes:
        data = self._first(limit + 1, what)
        if len(data) > limit:
            raise IntegrityError(f"{what} is longer than {limit} bytes")
        return data

    def below(self, suffix: str, failed: object = None) -> Iterator[Url]:
        return (url for url in objects_below(self.place) if url.name.endswith(suffix))

    def slots(self) -> HeaderSlots:
        own = self.own_slots()
        return counting_slots(own, self.detached(own.current.header.file_id))

    def detached(self, file_id: bytes) -> Detached | None:
        data = read_small(_beside(self.place), detached_header.LENGTH + 1, detached_header.WHAT)
        return decode_detached(file_id, data)

    @contextmanager
    def held(self, lock_timeout: float) -> Iterator[HeldObject]:
        yield HeldObject(self)

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        return within_seconds(PATIENCE, work)

    def left(self) -> HeaderSlots | None:
        try:
            return self.slots()
        except (NotFoundError, IntegrityError):
            return None

    def remove_unfinished(self) -> bool:
        if look_up(self.place, _TEMPORARY) is None:
            return False
        remove_object(self.place, _TEMPORARY)
        return True

    def must_be_unclaimed(self) -> None:
        pass

    def is_new(self, intent: FileIntent) -> bool:
        """Return whether the intent's operation made the object here; described in protocol.py.

        Without `intent.before`, a replacement is proven only by a change in a later second.
        """
        found = look_up(self.place, _OUTPUT)
        if intent.before is not None:
            return is_another_object(intent.before, object_identity(found))
        return found is not None and (not intent.replaces or modified(found) > intent.at)

    def give_up_uploads(self, since: int) -> None:
        discard_uploads(self.place, since)

    def own_slots(self) -> HeaderSlots:
        """Return the slots before the body, which a detached header may supersede."""
        return decode_slots(self._first(HEADER_SIZE, _CONTAINER))

    def _first(self, length: int, what: str) -> bytes:
        data = read_small(self.place, length, what)
        if data is None:
            raise NotFoundError(f"{what} {shown(str(self.place))} does not exist")
        return data


@dataclass(frozen=True)
class ObjectOutput:
    """An object about to be created; its methods are described in protocol.py. Objects cannot be locked."""

    upload: Upload
    before: str = ABSENT
    replaced: Header | None = None

    @property
    def place(self) -> Url:
        return self.upload.url

    @property
    def temporary(self) -> Url | None:
        return self.upload.temporary

    @property
    def may_exist(self) -> bool:
        return self.upload.may_exist

    @contextmanager
    def begun(self, size: int | None) -> Iterator[Upload]:
        self.upload.size = size
        with self.upload as upload:
            yield upload

    def commit(self) -> None:
        self.upload.commit()

    def remove_detached(self) -> None:
        """Remove the replaced container's detached header. Ignores failures, because readers ignore a leftover."""
        if self.before != ABSENT:
            with suppress(TikTrueKeysError):
                remove_object(_beside(self.place), detached_header.WHAT)


class HeldObject:
    """A container whose header is rewritten beside its body; its methods are described in protocol.py.

    An object cannot be changed in place. When two writers have read the same state, the second one gets a BusyError.
    """

    found: Detached | None = None

    def __init__(self, storage: ObjectStorage) -> None:
        self.place = storage.place
        self._storage = storage

    def slots(self) -> HeaderSlots:
        self._own = self._storage.own_slots()
        self._slots = counting_slots(self._own, self.detached(self._own.current.header.file_id))
        return self._slots

    def detached(self, file_id: bytes) -> Detached | None:
        self._beside = SmallObject(_beside(self.place), detached_header.WHAT)
        self.found = decode_detached(file_id, self._beside.read(detached_header.LENGTH + 1))
        return self.found

    def authenticate(self, data_key: memoryview) -> None:
        self._slots.current.authenticate(data_key)
        self._own.current.authenticate(data_key)

    def rewrite(self, header: Header, data_key: memoryview) -> None:
        raw = next_slot(self._slots, header, data_key)
        signature_place = self.found.place if self.found else bytes(SIGNATURE_PLACE_LENGTH)
        self._beside.write(Detached(header.file_id, decode_slots(raw * 2), signature_place).encode())

    def readable(self) -> RemoteObject:
        return RemoteObject(self.place, _CONTAINER)

    def sign(self, slots: HeaderSlots, signature_place: bytes, size: int) -> None:
        self._beside.write(Detached(slots.current.header.file_id, slots, signature_place).encode())


def _beside(container: Url) -> Url:
    """Return the URL of a container's detached header."""
    return container.with_name(container.name + detached_header.SUFFIX)
