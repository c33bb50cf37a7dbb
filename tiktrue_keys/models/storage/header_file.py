"""Reads the two header slots of an open container file, and rewrites them under the file's lock.

The layout of a slot is defined in format/header_slots.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tiktrue_keys.models.format.header import SEGMENT_SIZES, Header
from tiktrue_keys.models.format.header_slots import (
    HEADER_SIZE,
    MAGIC,
    SLOT_SIZE,
    HeaderSlots,
    decode_slots,
    is_whole,
    next_slot,
    split_slots,
)
from tiktrue_keys.models.storage.readable import Readable, pread_full, pwrite_synced

_READ_ATTEMPTS = 5
_READ_PAUSE = 0.01  # seconds; a writer has one torn slot for the time of a 32 KiB write


def read_slots(
    fd: Readable, *, segment_sizes: frozenset[int] = SEGMENT_SIZES, pause: Callable[[float], None] = time.sleep
) -> HeaderSlots:
    """Read the slots of an open, seekable container in one read.

    Retries briefly when neither slot is whole, because a read can coincide with a write of both. Raises IntegrityError
    when the header is malformed, and the system's OSError.
    """
    data = pread_full(fd, HEADER_SIZE, 0)
    for _ in range(_READ_ATTEMPTS - 1):
        raws = split_slots(data)
        torn = len(data) == HEADER_SIZE and any(raw.startswith(MAGIC) for raw in raws)
        if not torn or any(is_whole(raw) for raw in raws):
            break
        pause(_READ_PAUSE)
        data = pread_full(fd, HEADER_SIZE, 0)
    return decode_slots(data, segment_sizes=segment_sizes)


def rewrite_locked(fd: int, slots: HeaderSlots, header: Header, data_key: memoryview) -> None:
    """Replace the header of the container at `fd`. A kill at any point leaves a valid header.

    The caller holds the lock, and has read `slots` under it and authenticated them. Only the wraps may differ. When
    `header` equals the current one, this only completes an interrupted rewrite. Raises RefusedError for a header of
    another container.
    """
    current, other = slots.current, (1 - slots.place) * SLOT_SIZE
    if header == current.header:
        if not slots.equal:
            pwrite_synced(fd, current.raw, other)
        return
    raw = next_slot(slots, header, data_key)
    pwrite_synced(fd, raw, other)
    pwrite_synced(fd, raw, slots.place * SLOT_SIZE)
