"""The detached header: a separate object with the header of a container in object storage, after a rewrap or signing.

An object cannot be changed in place, and a body is never copied; so the new header is written to `NAME.ttmh` beside the
container `NAME`. All integers are big-endian.

    offset   bytes
         0       4  magic `TTMH`
         4       2  version, 1
         6       2  zero
         8      16  file id of the container that it belongs to
        24  65,536  the two slots (format/header_slots.py), which are identical
    65,560     112  signature place (format/trailer.py); all zero while the container is unsigned there

A reader uses these slots instead of those before the body when their sequence number is higher. Both headers must then
be authentic under the same data key (Front.authenticate) and may differ only in their wraps. The signature place is
used when the container's own is empty. A detached header with another file id is left over from a replaced container
and is ignored; any other malformed detached header is an error.

Does not handle: requests to the storage (storage/objects.py); rollback. An attacker who can write to the storage can
restore an older detached header or remove it, and then still needs a key that opens the older wraps.
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
_RESTORE = "restore the object, or remove it and rewrap the container"


@dataclass(frozen=True)
class Detached:
    """A detached header: file id (16 bytes), the slots, and the signature place (112 bytes), which may be empty."""

    file_id: bytes
    slots: HeaderSlots
    place: bytes = bytes(SIGNATURE_PLACE_LENGTH)

    def encode(self) -> bytes:
        """Return its 65,672 bytes."""
        return _HEAD.pack(_MAGIC, _VERSION, 0, self.file_id) + self.slots.current.raw * 2 + self.place

    @classmethod
    def decode(cls, data: bytes) -> Detached:
        """Decode the object, without authenticating it. Raises IntegrityError for anything `encode` would not write."""
        if len(data) != LENGTH or not data.startswith(_MAGIC):
            raise IntegrityError(f"{WHAT} beside the container is malformed, or was cut off", _RESTORE)
        _, version, zero, file_id = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise IntegrityError(f"{WHAT} has version {version}", f"this program reads version {_VERSION}")
        slots = decode_slots(data[_HEAD.size : _HEAD.size + HEADER_SIZE])
        if zero or not slots.equal or slots.current.header.file_id != file_id:
            raise IntegrityError(f"{WHAT} is not in its canonical form", _RESTORE)
        return cls(file_id, slots, data[_HEAD.size + HEADER_SIZE :])

    def signature(self, root: bytes) -> Signature | None:
        """Return the signature over that root (32 bytes), None when the place holds none."""
        return decode_signature_place(root, self.place)


def decode_detached(file_id: bytes, data: bytes | None) -> Detached | None:
    """Return the detached header in `data`; None without data, or when it belongs to another container.

    Raises IntegrityError when it belongs to `file_id` (16 bytes) and is malformed.
    """
    if data is None:
        return None
    # Compare the id first: a leftover of a replaced container may be malformed, and is not an error.
    if len(data) >= _HEAD.size and data[8 : 8 + FILE_ID_LENGTH] != file_id and data.startswith(_MAGIC):
        return None
    return Detached.decode(data)


def counting_slots(own: HeaderSlots, detached: Detached | None) -> HeaderSlots:
    """Return the slots in effect: the detached ones when their sequence number is higher, else `own`.

    Raises IntegrityError when the detached header differs in more than its wraps.
    """
    if detached is None or detached.slots.current.sequence <= own.current.sequence:
        return own
    header = own.current.header
    if detached.slots.current.header.with_wraps(header.wraps) != header:
        raise IntegrityError(f"{WHAT} belongs to another container", _RESTORE)
    return detached.slots
