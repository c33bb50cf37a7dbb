"""Plans an encryption without doing it: the files, their sizes, and the files that a resumed run would keep.

Opens the key and checks the destination, so that it raises the errors of the real run. Does not encrypt or write.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.container.seal import container_size
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.file.plaintext import plaintext_source
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.location import (
    Place,
    Url,
    default_destination,
    object_place,
    parse_place,
    recorded_path,
)

ENCRYPT, COPY, DONE = "encrypt", "copy", "done"


@dataclass(frozen=True)
class PlannedFile:
    """One file: its path (relative for a folder), bytes of plaintext, and `encrypt`, `copy` or `done`."""

    path: str
    length: int
    action: str


@dataclass(frozen=True)
class EncryptionPlan:
    """The files to encrypt, the destination and the key. `left_out` are the files that the selection excludes."""

    source: Place
    destination: Place
    key: ManagedKey
    files: tuple[PlannedFile, ...]
    left_out: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Return the bytes of plaintext still to be read."""
        return sum(file.length for file in self.files if file.action != DONE)

    @property
    def size(self) -> int:
        """Return the bytes that would be written."""
        todo = [file for file in self.files if file.action != DONE]
        return sum(container_size(file.length) if file.action == ENCRYPT else file.length for file in todo)


def plan_model(
    manager: KeyManager,
    source: str | PathLike[str] | Url,
    destination: str | PathLike[str] | Url | None = None,
    *,
    key: str,
    license_key: License | None = None,
    force: bool = False,
) -> EncryptionPlan:
    """Return the plan of encrypt_model for one file. Raises the errors of encrypt_model."""
    given = object_place(source)
    target = default_destination(given) if destination is None else object_place(destination)
    gate = manager.output_gate()
    must_be_a_model(gate, given)
    with plaintext_source(given) as plaintext:
        with plaintext.reserved_for(target, gate, force=force, lock_timeout=LOCK_TIMEOUT):
            opened_key = _opened(manager, key, license_key)
        planned = PlannedFile(given.name, plaintext.size or 0, ENCRYPT)
    return EncryptionPlan(given, parse_place(recorded_path(target)), opened_key, (planned,))


def _opened(manager: KeyManager, key: str, license_key: License | None) -> ManagedKey:
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
        manager.must_be_authority(opened.key.model_id)
        return opened.key
