"""The two header slots of an open container file: reads them, writes them, and rewrites them under the file's lock.

Holds no layout: the bytes of a slot are defined in format/header_slots.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import foreign_os_errors
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
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.readable import Readable, pread_full, pwrite_synced

_READ_ATTEMPTS = 5
_READ_PAUSE = 0.01  # seconds; a writer has one torn slot for the time of a 32 KiB write


@dataclass(frozen=True)
class Rewritten:
    """What `rewrite_header` left in the file."""

    header: Header
    sequence: int
    changed: bool


def read_slots(
    fd: Readable, *, segment_sizes: frozenset[int] = SEGMENT_SIZES, pause: Callable[[float], None] = time.sleep
) -> HeaderSlots:
    """Read the slots of an open, seekable container in one read.

    Retried for a moment when neither slot is whole: a reader may meet a write of each of them. IntegrityError as
    decode_slots, OSError from the system.
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


def rewrite_header(
    path: str | PathLike[str],
    *,
    unwrap: Callable[[Header], SecretBuffer],
    change: Callable[[Header, memoryview], Header],
    lock_timeout: float,
    segment_sizes: frozenset[int] = SEGMENT_SIZES,
) -> Rewritten:
    """Replace the header of the container at `path` under its lock, so that a kill at any point leaves it whole.

    `unwrap` gets the current header, not yet authenticated, and returns the 32-byte data key, which is wiped here.
    `change` gets the header once it is authentic, with the data key, and returns the new one; only wraps may differ.
    When it is equal to the old one, no more than an interrupted earlier rewrite is finished. BusyError when the lock is
    not free within `lock_timeout` seconds, IntegrityError as read_slots, whatever the two callables raise, the system's
    errors as core/durable.py names them.
    """
    with locked_container(path, lock_timeout) as fd, foreign_os_errors("the container", path):
        slots = read_slots(fd, segment_sizes=segment_sizes)
        with unwrap(slots.current.header) as data_key:
            slots.current.authenticate(data_key.view)
            return rewrite_locked(fd, slots, change(slots.current.header, data_key.view), data_key.view)


def rewrite_locked(fd: int, slots: HeaderSlots, header: Header, data_key: memoryview) -> Rewritten:
    """The write of `rewrite_header`, for those who hold the lock already and have authenticated `slots.current`."""
    current, other = slots.current, (1 - slots.place) * SLOT_SIZE
    if header == current.header:
        if not slots.equal:
            pwrite_synced(fd, current.raw, other)
        return Rewritten(header, current.sequence, changed=False)
    raw = next_slot(slots, header, data_key)
    pwrite_synced(fd, raw, other)
    pwrite_synced(fd, raw, slots.place * SLOT_SIZE)
    return Rewritten(header, current.sequence + 1, changed=True)
