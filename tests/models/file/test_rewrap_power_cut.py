"""A power cut in the middle of a batch of rewraps: what was not synced is lost in part; every container still opens."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE
from tests.models.file.test_rewrap import rotated
from tests.models.workshop import Workshop
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.file.rewrap import rewrap_registered
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, decode_slots

FILES = 12
CUTS = 400
BLOCK = 4096


@dataclass
class Write:
    """One write to a header: when it began and when it was on stable storage, in steps of the whole disk."""

    path: str
    offset: int
    data: bytes
    begun: int
    durable: int | None = None


@dataclass
class Disk:
    """Notes every write to the containers. `honours`: RWF_DSYNC returns after the write, not when it is cached."""

    honours: bool = True
    step: int = 0
    writes: list[Write] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def pwritev(self, fd: int, buffers: Any, offset: int, flags: int) -> int:
        data = b"".join(bytes(buffer) for buffer in buffers)
        with self.guard:
            self.step += 1
            write = Write(os.readlink(f"/proc/self/fd/{fd}"), offset, data, self.step)
            self.writes.append(write)
        count = os.pwrite(fd, data, offset)
        with self.guard:
            self.step += 1
            write.durable = self.step if self.honours and flags & os.RWF_DSYNC else None
        return count

    def image(self, path: Path, before: bytes, cut: int, chooser: random.Random) -> bytes:
        """The header after a cut: of writes that were not on stable storage, any blocks are there and any are not."""
        header = bytearray(before)
        mine = [write for write in self.writes if write.path == str(path) and write.begun <= cut]
        for write in mine:
            whole = write.durable is not None and write.durable <= cut
            for at in range(0, len(write.data), BLOCK):
                if whole or chooser.random() < 0.5:
                    header[write.offset + at : write.offset + at + BLOCK] = write.data[at : at + BLOCK]
        return bytes(header)


def cut_everywhere(shop: Workshop, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Rewrap a batch on `disk`, cut the power at random steps, and return the keys that opened what was left."""
    paths = [shop.sealed(100 + number, f"{number}.bin") for number in range(FILES)]
    before = {path: path.read_bytes()[:HEADER_SIZE] for path in paths}
    old, new = rotated(shop)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", disk.pwritev)
        rewrap_registered(shop.manager, license_key=LICENSE)
    assert len(disk.writes) == 2 * FILES
    chooser = random.Random(1)
    opened: set[str] = set()
    for _ in range(CUTS):
        cut = chooser.randrange(disk.step + 1)
        for path in paths:
            header = decode_slots(disk.image(path, before[path], cut, chooser)).current.header
            opened |= header.key_ids
    assert opened <= {old, new}
    return {"old" if key == old else "new" for key in opened}


def test_every_container_opens_with_the_old_key_or_the_new_one(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cut_everywhere(shop, Disk(), monkeypatch) == {"old", "new"}


def test_a_second_slot_that_is_written_before_the_first_is_safe_is_seen(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        cut_everywhere(shop, Disk(honours=False), monkeypatch)
