"""The header's two slots: their layout, which one is current, and how to rewrite them so that one is always valid.

A container begins with two slots of 32 KiB. All integers are big-endian.

    offset  bytes  a slot
         0      4  magic `TTM1`
         4      2  version, 1
         6      2  zero
         8      8  sequence number, 1 and up
        16      4  n, the length of the JSON, at most 32,672
        20     12  zero
        32     32  checksum: SHA-256 over the slot's 32,768 bytes, HMAC included, with this field taken as zero
        64      n  the header's canonical JSON (format/header.py)
    64 + n         zero
    32,736     32  HMAC-SHA256 over the 32,736 bytes before it with the checksum taken as zero;
                   key = derivation.header_mac_key(data key, file id)

The current slot is the one with the highest sequence number among those with a correct checksum; two slots with the
same number must be identical. The checksum only detects torn writes. It covers the HMAC because two headers may differ
in their first sector alone; a torn write can then lose just the last sector, which holds the HMAC. The HMAC
authenticates the current slot; if it is wrong, the reader does not fall back to the other slot. To rewrite: hold the
file's lock (storage/container_lock.py), write number n + 1 to the slot that is not current, sync, write the same bytes
to the other slot, sync. A new container has number 1 in both slots.

Does not handle: rollback. An attacker who restores both slots of an earlier state restores its wraps, and still needs
a key that opens them. A rewrap does not lock out a holder of the data key or of an old copy.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from tiktrue_keys.core.derivation import header_mac_key
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.header import SEGMENT_SIZES, Header

MAGIC = b"TTM1"
VERSION = 1
SLOT_SIZE = 32 * 1024
HEADER_SIZE = 2 * SLOT_SIZE
"""Where the body begins."""

_FIXED = struct.Struct(">4sHHQI12s32s")
_CHECKSUM_AT = 32
_JSON_AT = 64
_MAC_AT = SLOT_SIZE - 32
MAX_JSON = _MAC_AT - _JSON_AT
_MAX_SEQUENCE = 2**64 - 1

_RESTORE = "restore the container from a copy"


@dataclass(frozen=True)
class HeaderSlot:
    """One slot with a correct checksum; `raw` is its 32 KiB. It is authentic only after `authenticate` has returned."""

    header: Header
    sequence: int
    raw: bytes

    def authenticate(self, data_key: memoryview) -> None:
        """Verify the HMAC under the 32-byte data key. Raises IntegrityError when it is wrong."""
        expected = _mac(_without_checksum(self.raw[:_MAC_AT]), self.header, data_key)
        if not hmac.compare_digest(expected, self.raw[_MAC_AT:]):
            raise IntegrityError(
                "the container's header was changed, or the data key belongs to another container", _RESTORE
            )


@dataclass(frozen=True)
class HeaderSlots:
    """The decoded pair: the current slot, its position (0 or 1), and whether both slots are equal."""

    current: HeaderSlot
    place: int
    equal: bool


def encode_slot(header: Header, sequence: int, data_key: memoryview) -> bytes:
    """Return the 32 KiB of a slot.

    Raises RefusedError when the header does not fit: about 18 HPKE wraps, or 64 wraps for managed keys.
    """
    json = header.encode()
    if len(json) > MAX_JSON:
        raise RefusedError("the container's header has no room for this many wrapped keys", "name fewer recipients")
    body = _fixed(sequence, len(json), bytes(32)) + json + bytes(MAX_JSON - len(json))
    slot = body + _mac(body, header, data_key)
    return slot[:_CHECKSUM_AT] + hashlib.sha256(slot).digest() + slot[_JSON_AT:]


def encode_header(header: Header, data_key: memoryview) -> bytes:
    """Return the first 64 KiB of a new container: both slots with sequence number 1."""
    return encode_slot(header, 1, data_key) * 2


def decode_slots(data: bytes, *, segment_sizes: frozenset[int] = SEGMENT_SIZES) -> HeaderSlots:
    """Find and decode the current slot in a container's first 64 KiB.

    Raises IntegrityError when this is not a container, both slots are damaged, two slots with the same number differ,
    or the current slot is malformed.
    """
    raws = split_slots(data)
    if not any(raw.startswith(MAGIC) for raw in raws):
        raise IntegrityError("this is not a model container, or its header was cut off", "give a .ttm file")
    whole = {place: _sequence(raw) for place, raw in enumerate(raws) if is_whole(raw)}
    if not whole:
        raise IntegrityError("both copies of the container's header are damaged", _RESTORE)
    if len(whole) == 2 and whole[0] == whole[1] and raws[0] != raws[1]:
        raise IntegrityError("the two copies of the container's header disagree", _RESTORE)
    place = max(whole, key=lambda at: whole[at])
    return HeaderSlots(_decode_slot(raws[place], segment_sizes), place, raws[0] == raws[1])


def next_slot(slots: HeaderSlots, header: Header, data_key: memoryview) -> bytes:
    """Return the 32 KiB that replace the current slot, with the next sequence number.

    Raises RefusedError when `header` belongs to another container or the sequence number cannot grow.
    """
    if slots.current.sequence >= _MAX_SEQUENCE:
        raise RefusedError(
            "the container's header cannot be rewritten again", "re-encrypt the container", remedy="reencrypt-container"
        )
    _refuse_another_container(slots.current.header, header)
    return encode_slot(header, slots.current.sequence + 1, data_key)


def _refuse_another_container(old: Header, new: Header) -> None:
    if new.with_wraps(old.wraps) != old:
        raise RefusedError("only the wrapped keys of a container can be rewritten in place")


def _mac(body: bytes, header: Header, data_key: memoryview) -> bytes:
    with header_mac_key(data_key, header.file_id) as key:
        return hmac.digest(key.view, body, hashlib.sha256)


def _fixed(sequence: int, json_length: int, checksum: bytes) -> bytes:
    return _FIXED.pack(MAGIC, VERSION, 0, sequence, json_length, bytes(12), checksum)


def split_slots(data: bytes) -> list[bytes]:
    """Return the two slots of a container's first 64 KiB, undecoded."""
    return [data[:SLOT_SIZE], data[SLOT_SIZE:HEADER_SIZE]]


def _sequence(raw: bytes) -> int:
    return int.from_bytes(raw[8:16], "big")


def is_whole(raw: bytes) -> bool:
    """Return whether a slot has the magic and its checksum is right."""
    if len(raw) != SLOT_SIZE or not raw.startswith(MAGIC):
        return False
    return hashlib.sha256(_without_checksum(raw)).digest() == raw[_CHECKSUM_AT:_JSON_AT]


def _without_checksum(raw: bytes) -> bytes:
    return raw[:_CHECKSUM_AT] + bytes(_JSON_AT - _CHECKSUM_AT) + raw[_JSON_AT:]


def _decode_slot(raw: bytes, segment_sizes: frozenset[int]) -> HeaderSlot:
    _, version, zero, sequence, json_length, zeros, checksum = _FIXED.unpack_from(raw)
    if version != VERSION:
        raise IntegrityError(f"the container has format version {version}", f"this program reads version {VERSION}")
    if json_length > MAX_JSON:
        raise IntegrityError("the container's header claims more than it can hold")
    json = raw[_JSON_AT : _JSON_AT + json_length]
    canonical = _fixed(sequence, json_length, checksum) + json + bytes(MAX_JSON - json_length)
    if zero or any(zeros) or sequence == 0 or raw[:_MAC_AT] != canonical:
        raise IntegrityError("the container's header is not in its canonical form")
    return HeaderSlot(Header.decode(json, limit=MAX_JSON, segment_sizes=segment_sizes), sequence, raw)
