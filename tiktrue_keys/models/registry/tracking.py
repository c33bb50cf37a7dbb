"""Updates the registry's row of a container that was opened, with the path where it is now.

Does not handle: operations that change a container; their intent updates the row (models/registry/intent.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant
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


@dataclass(frozen=True)
class SeenContainer:
    """A container that was opened at `path` (empty for a pipe), which `keys` open.

    `signed`: this keystore's signature was verified. Once recorded, it stays recorded.
    """

    header: Header
    path: str
    keys: frozenset[str]
    signed: bool = False

    def row(self, place: Tracked, known: ContainerRecord | None, now: Instant) -> ContainerRecord:
        """Return its row at `place`, given the row that there is."""
        return ContainerRecord(
            self.header.file_id,
            place.path,
            self.header.model_id,
            self.header.name,
            self.keys,
            now,
            piped=place.piped,
            signed=self.signed or bool(known and known.signed),
        )


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
    """Update the registry's row of a container that was opened; `keys` open it. Returns its location."""
    return track_all(manager, [SeenContainer(header, path, frozenset(keys), signed)])[0]


def track_all(manager: KeyManager, seen: Sequence[SeenContainer]) -> list[Tracked]:
    """Update the rows of many containers as `track` does one, with one read and few transactions."""
    known, now = manager.containers_by_id(each.header.file_id for each in seen), manager.now()
    places, records = [], []
    for each in seen:
        before = known.get(each.header.file_id)
        place = followed(before, each.header, each.path)
        record = each.row(place, before, now)
        if before is None or (not place.is_copy and replace(before, last_seen=now) != record):
            records.append(record)
        places.append(place)
    manager.register_all(records)
    return places
