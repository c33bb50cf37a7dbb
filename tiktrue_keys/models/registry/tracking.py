"""Updates the registry's row of a container that was opened, with the path where it is now.

Does not handle: operations that change a container; their intent updates the row (models/registry/intent.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.models.container.header_of import lies_at
from tiktrue_keys.models.format.header import Header


@dataclass(frozen=True)
class Tracked:
    """The registry's location of a container: `path` (empty for a pipe), and a notice when a copy was opened."""

    path: str
    piped: bool
    notices: tuple[Notice, ...] = ()

    @property
    def is_copy(self) -> bool:
        """Return whether the opened container is a copy of the one that the registry follows."""
        return bool(self.notices)


def tracked_place(manager: KeyManager, header: Header, path: str) -> Tracked:
    """Return the container's location: `path` (empty for a pipe), unless it is still where the registry has it."""
    return followed(manager.container(header.file_id), header, path)


def followed(known: ContainerRecord | None, header: Header, path: str) -> Tracked:
    """Return the container's location, given its row in the registry, or None without one."""
    if not path:
        return Tracked(known.path, known.piped) if known else Tracked("", True)
    if known is None or known.piped or known.path == path or not lies_at(known.path, header.file_id):
        return Tracked(path, False)
    words = f"{shown(path)} is a copy of {shown(known.path)}; the registry follows that one"
    return Tracked(known.path, False, (Notice("copied-container", words),))


def track(manager: KeyManager, header: Header, path: str, keys: Iterable[str], *, signed: bool = False) -> Tracked:
    """Update the registry's row of a container that was opened; `keys` open it. Returns its location.

    `signed`: this keystore's signature was verified. Once recorded, it stays recorded.
    """
    known = manager.container(header.file_id)
    place = followed(known, header, path)
    record = ContainerRecord(
        header.file_id,
        place.path,
        header.model_id,
        header.name,
        frozenset(keys),
        manager.now(),
        piped=place.piped,
        signed=signed or bool(known and known.signed),
    )
    if known is None or (not place.is_copy and replace(known, last_seen=record.last_seen) != record):
        manager.register(record)
    return place
