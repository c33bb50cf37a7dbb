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

Does not handle: requests to the storage (storage/objects.py), and an attacker who can write to the storage and puts
back an older detached header, or takes it away: the same as one who puts back older slots, and like him he needs a key
that opens those.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.format.header import FILE_ID_LENGTH
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots
from tiktrue_keys.models.format.trailer import SIGNATURE_PLACE_LENGTH, Signature, decode_signature_place

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


def decode_detached(file_id: bytes, data: bytes | None) -> Detached | None:
    """The detached header in `data`; None when there is none, or it is another container's than `file_id`'s."""
    if data is None:
        return None
    # Looked at first: what is left of a replaced container may be in any state, and is not an error.
    if len(data) >= _HEAD.size and data[8 : 8 + FILE_ID_LENGTH] != file_id and data.startswith(_MAGIC):
        return None
    return Detached.decode(data)


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
