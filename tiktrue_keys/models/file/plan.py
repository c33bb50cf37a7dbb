"""What an encryption would do, without doing it: which files, how many bytes, what a resumed run would take over.

The key is opened and the destination looked at, so that what would be refused is refused here. Reads no file's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.container.seal import container_size
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
from tiktrue_keys.models.storage.protocol import storage_of

ENCRYPT, COPY, DONE = "encrypt", "copy", "done"


@dataclass(frozen=True)
class PlannedFile:
    """One file: its path (of a folder's, relative), bytes of plaintext, `encrypt`, `copy` or `done`."""

    path: str
    length: int
    action: str


@dataclass(frozen=True)
class EncryptionPlan:
    """What would be encrypted, where to, under which key. `left_out` by the selection."""

    source: Place
    destination: Place
    key: ManagedKey
    files: tuple[PlannedFile, ...]
    left_out: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Bytes of plaintext that are still to be read."""
        return sum(file.length for file in self.files if file.action != DONE)

    @property
    def size(self) -> int:
        """Bytes that would be written."""
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
    """What encrypt_model would do with a file; raises as it."""
    given = object_place(source)
    target = default_destination(given) if destination is None else object_place(destination)
    with plaintext_source(given) as plaintext:
        plaintext.must_not_be_at(target)
        with storage_of(target).reserved(force=force, lock_timeout=LOCK_TIMEOUT):
            opened_key = _opened(manager, key, license_key)
        planned = PlannedFile(given.name, plaintext.size or 0, ENCRYPT)
    return EncryptionPlan(given, parse_place(recorded_path(target)), opened_key, (planned,))


def _opened(manager: KeyManager, key: str, license_key: License | None) -> ManagedKey:
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
        return opened.key
