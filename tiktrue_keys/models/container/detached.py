"""The header of a container in object storage once it was rewrapped or signed: an object of its own beside the body.

An object cannot be written to in its middle, and a body is never copied; so the header that counts from then on is put
at `NAME.ttmh` beside the container `NAME`. All integers are big-endian.

    offset   bytes
         0       4  magic `TTMH`
         4       2  version, 1
         6       2  zero
         8      16  file id of the container that it belongs to
        24  65,536  the two slots (format/header_slots.py), which are identical
    65,560     112  signature place (format/trailer.py); all zero while the container is unsigned there

A reader takes the slots in the place of those before the body when their number is higher; then both must be authentic
under the same data key (Front.authenticate) and may differ in nothing but the wraps. The signature place counts when
the container's own is empty. A detached header of another file id is what is left of a container that was replaced,
and is not looked at; any other that is not as written here is an error, never passed over.

It is written by one request, which compares it with what was read before (storage.SmallObject).

Does not handle: an attacker who can write to the storage and puts back an older detached header, or takes it away: the
same as one who puts back older slots, and like him he needs a key that opens those.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import Container
from tiktrue_keys.models.format.header import FILE_ID_LENGTH, Header
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots, next_slot
from tiktrue_keys.models.format.trailer import (
    SIGNATURE_PLACE_LENGTH,
    Signature,
    Trailer,
    decode_signature_place,
    signature_place,
)
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.objects import SmallObject, read_small

SUFFIX = ".ttmh"
WHAT = "the detached header"
_MAGIC = b"TTMH"
_VERSION = 1
_HEAD = struct.Struct(">4sHH16s")
LENGTH = _HEAD.size + HEADER_SIZE + SIGNATURE_PLACE_LENGTH
_RESTORE = "a rewrap cannot mend it: restore the object, or remove it and rewrap the container again"


@dataclass(frozen=True)
class Detached:
    """A detached header: file id (16 bytes), the slots, and the signature place (112 bytes), which may be empty."""

    file_id: bytes
    slots: HeaderSlots
    place: bytes = bytes(SIGNATURE_PLACE_LENGTH)

    def encode(self) -> bytes:
        """Its 65,672 bytes."""
        return _HEAD.pack(_MAGIC, _VERSION, 0, self.file_id) + self.slots.current.raw * 2 + self.place

    @classmethod
    def decode(cls, data: bytes) -> Detached:
        """Read what `encode` writes; IntegrityError for anything else. Nothing of it is authentic yet."""
        if len(data) != LENGTH or not data.startswith(_MAGIC):
            raise IntegrityError(f"{WHAT} beside the container is none, or was cut off", _RESTORE)
        _, version, zero, file_id = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise IntegrityError(f"{WHAT} has version {version}", f"this program reads version {_VERSION}")
        slots = decode_slots(data[_HEAD.size : _HEAD.size + HEADER_SIZE])
        if zero or not slots.equal or slots.current.header.file_id != file_id:
            raise IntegrityError(f"{WHAT} is not in its canonical form", _RESTORE)
        return cls(file_id, slots, data[_HEAD.size + HEADER_SIZE :])

    def signature(self, root: bytes) -> Signature | None:
        """The signature of the container with that root (32 bytes), if the place holds one."""
        return decode_signature_place(root, self.place)


def detached_url(container: Url) -> Url:
    """Where the detached header of a container lies."""
    return container.with_name(container.name + SUFFIX)


def read_detached(container: Url, file_id: bytes) -> Detached | None:
    """The detached header beside a container; None when there is none, or it is another container's."""
    return _of(file_id, read_small(detached_url(container), LENGTH + 1, WHAT))


def counting_slots(own: HeaderSlots, detached: Detached | None) -> HeaderSlots:
    """Of the slots before the body and the detached ones, those that count.

    IntegrityError when the detached ones would change more than who opens the container.
    """
    if detached is None or detached.slots.current.sequence <= own.current.sequence:
        return own
    header = own.current.header
    if detached.slots.current.header.with_wraps(header.wraps) != header:
        raise IntegrityError(f"{WHAT} is another container's", _RESTORE)
    return detached.slots


def with_detached(container: Container, detached: Detached | None) -> Container:
    """The container as its detached header says; errors as counting_slots."""
    if detached is None:
        return container
    slots = counting_slots(container.slots, detached)
    if slots is not container.slots:
        container = replace(container, slots=slots, beneath=container.slots)
    signature = detached.signature(container.root)
    if container.trailer.signature is None and signature is not None:
        container = replace(container, trailer=container.trailer.signed(signature))
    return container


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
    small = SmallObject(detached_url(container), WHAT)
    return DetachedPlace(_of(file_id, small.read(LENGTH + 1)), small)


def _of(file_id: bytes, data: bytes | None) -> Detached | None:
    if data is None:
        return None
    # Looked at first: what is left of a replaced container may be in any state, and concerns nobody.
    if len(data) >= _HEAD.size and data[8 : 8 + FILE_ID_LENGTH] != file_id and data.startswith(_MAGIC):
        return None
    return Detached.decode(data)
