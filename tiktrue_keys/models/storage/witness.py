"""A folder, or a prefix in a storage service, that keeps dated checkpoints of audit logs as a witness elsewhere.

    kept = keep_checkpoint(manager, parse_place("/mnt/witness"))

Nothing is replaced or removed there. A log that does not extend the newest checkpoint there adds none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tiktrue_keys.core.audit.checkpoint import NOTE_LIMIT
from tiktrue_keys.core.audit.dated_checkpoint import DatedCheckpoint, checkpoint_name, newest_checkpoint
from tiktrue_keys.core.durable import create_bytes, read_capped
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.outputs import OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError, NotFoundError, UnavailableError
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.object_requests import objects_below, read_small
from tiktrue_keys.models.storage.upload import Upload

_WHAT = "the checkpoint"
_READABLE = 0o644  # a checkpoint holds no secret, and a witness is read by other users


@dataclass(frozen=True)
class KeptCheckpoint:
    """The newest checkpoint in a witness's place: its note, path or URL, and whether it was added now."""

    note: str
    place: Place
    size: int
    added: bool


class _Witness(Protocol):
    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...
    def create(self, name: str, data: bytes) -> Place: ...
    def place_of(self, name: str) -> Place: ...


def keep_checkpoint(manager: KeyManager, place: Place) -> KeptCheckpoint:
    """Add the checkpoint of the audit log to the place, unless the newest one there covers every record.

    Raises IntegrityError when the log does not extend the newest one there, NotFoundError when the folder does not
    exist, UnavailableError when it cannot be reached.
    """
    witness: _Witness = _Objects(place) if isinstance(place, Url) else _Folder(place, manager.output_gate())
    document = manager.document()
    newest = newest_checkpoint(witness.names(), document.keystore_id)  # before the head is read: it may only grow
    note = manager.audit_checkpoint()
    size = int(note.split("\n")[1])
    if newest is not None and newest.epoch >= document.epoch:
        known = _must_extend(manager, witness, newest)
        if known == size:
            return KeptCheckpoint(note, witness.place_of(newest.name), size, added=False)
    name = checkpoint_name(document.keystore_id, document.epoch, size, manager.now())
    return KeptCheckpoint(note, witness.create(name, note.encode()), size, added=True)


def _must_extend(manager: KeyManager, witness: _Witness, newest: DatedCheckpoint) -> int:
    """Return the size of the newest checkpoint there, which the log extends. Raises IntegrityError otherwise."""
    where = shown(str(witness.place_of(newest.name)))
    if newest.epoch > manager.document().epoch:
        raise IntegrityError(
            f"{where} is of epoch {newest.epoch}, but the keystore is in epoch {manager.document().epoch}",
            "an older copy of the keystore was put back: restore the newest backup",
            remedy="rolled-back",
        )
    try:
        return manager.audit_must_extend(witness.read(newest.name)).size
    except IntegrityError as error:
        raise IntegrityError(f"{where}: {error.message}", **error.advice) from None


class _Folder:
    def __init__(self, folder: Path, gate: OutputGate) -> None:
        self._folder, self._gate = folder, gate
        gate.check(folder / "checkpoint")

    def names(self) -> list[str]:
        with foreign_os_errors("the folder", self._folder):
            return os.listdir(self._folder)

    def read(self, name: str) -> bytes:
        return read_capped(self._folder / name, NOTE_LIMIT, _WHAT)

    def create(self, name: str, data: bytes) -> Place:
        create_bytes(self._folder / name, data, _READABLE, gate=self._gate, what=_WHAT)
        return self._folder / name

    def place_of(self, name: str) -> Place:
        return self._folder / name


class _Objects:
    def __init__(self, prefix: Url) -> None:
        self._prefix = prefix

    def names(self) -> list[str]:
        with suppress(NotFoundError):  # a prefix exists with its first object
            return [url.name for url in objects_below(self._prefix) if url == self._prefix / url.name]
        return []

    def read(self, name: str) -> bytes:
        data = read_small(self._prefix / name, NOTE_LIMIT + 1, _WHAT)
        if data is None:
            raise UnavailableError(f"{_WHAT} {shown(str(self._prefix / name))} was removed just now", "try again")
        return data

    def create(self, name: str, data: bytes) -> Place:
        with Upload(self._prefix / name, replace=False, size=len(data)) as upload:
            upload.preface(data)
            upload.commit()
        return self._prefix / name

    def place_of(self, name: str) -> Place:
        return self._prefix / name
