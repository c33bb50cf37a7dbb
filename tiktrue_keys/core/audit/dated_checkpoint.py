"""Names of the dated checkpoints that lie in another place as witnesses of the audit log, and which one is the newest.

Come here for `audit checkpoint --to`. A name gives keystore, epoch, size and date; only the signed note in the file is
believed. models/storage/witness.py reads and writes the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tiktrue_keys.core.instants import Instant, rfc3339

_NAME = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,14})-([0-9]{1,15})-[0-9]{8}T[0-9]{6}Z\.checkpoint")


@dataclass(frozen=True, order=True)
class DatedCheckpoint:
    """A checkpoint by its name. Ordered by epoch, then size, then date."""

    epoch: int
    size: int
    name: str


def checkpoint_name(keystore_id: bytes, epoch: int, size: int, at: Instant) -> str:
    """Return the name of the file for a checkpoint that is written at `at`."""
    date = re.sub("[-:]", "", rfc3339(at) or "")
    return f"{keystore_id.hex()}-{epoch}-{size:08}-{date}.checkpoint"


def newest_checkpoint(names: Iterable[str], keystore_id: bytes) -> DatedCheckpoint | None:
    """Return the newest checkpoint of a keystore among the names of files; None without one."""
    found = (_NAME.fullmatch(name) for name in names)
    ours = [
        DatedCheckpoint(int(match[2]), int(match[3]), match[0])
        for match in found
        if match is not None and match[1] == keystore_id.hex()
    ]
    return max(ours, default=None)
