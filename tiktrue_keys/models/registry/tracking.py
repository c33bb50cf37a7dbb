"""Updates the registry's row of a container that was opened, with the path where it is now.

Does not handle: operations that change a container; their intent updates the row (models/registry/intent.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.container.header_of import lies_at
from tiktrue_keys.models.container.signers import NOT_CHECKED, Verdict
from tiktrue_keys.models.format.header import Header


@dataclass(frozen=True)
class Tracked:
    """The registry's location of a container: `path`, empty for a pipe, and the former path of a row that moved."""

    path: str
    piped: bool
    was: str | None = None


@dataclass(frozen=True)
class SeenContainer:
    """A container whose header was authenticated at `path` (empty for a pipe), which `keys` open.

    `signed`: the signature of `signer` (a node id) was verified. Once recorded, it stays recorded.
    """

    header: Header
    path: str
    keys: frozenset[str]
    signed: bool = False
    signer: str = ""

    def row(self, place: Tracked, known: Sequence[ContainerRecord], now: Instant) -> ContainerRecord:
        """Return its row at `place`, given the rows that there are."""
        return ContainerRecord(
            self.header.file_id,
            place.path,
            self.header.model_id,
            self.header.name,
            self.keys,
            now,
            piped=place.piped,
            signed=self.signed or any(record.signed for record in known),
            signer=self.signer or next((record.signer for record in known if record.signer), ""),
        )


def tracked_place(manager: KeyManager, header: Header, path: str) -> Tracked:
    """Return the location of a container that was opened at `path`, empty for a pipe; its row moves there first."""
    return tracked_places(manager, [(header, path)])[0]


def tracked_places(manager: KeyManager, opened: Sequence[tuple[Header, str]]) -> list[Tracked]:
    """Return the locations of many containers as tracked_place does one, with one read and few transactions."""
    known = manager.locations_by_id(header.file_id for header, _ in opened)
    places: list[Tracked] = []
    moved: list[ContainerRecord] = []
    moved_from: dict[tuple[bytes, str], str] = {}
    for header, path in opened:
        rows = known.get(header.file_id, ())
        place = followed(rows, header, path)
        places.append(place)
        if place.was is not None:
            moved += [replace(row, path=path, piped=False) for row in rows if row.path == place.was][:1]
            moved_from[header.file_id, path] = place.was
    manager.register_all(moved, moved_from)
    return places


def followed(known: Sequence[ContainerRecord], header: Header, path: str) -> Tracked:
    """Return the location of a container that is opened at `path`, given its rows.

    At a new path it is a copy, unless one of its rows names a path where it no longer lies, or a pipe: then it moved.
    """
    if not path:
        return Tracked(known[0].path, known[0].piped) if known else Tracked("", True)
    if all(record.path != path for record in known):
        for record in known:
            if record.piped or not lies_at(record.path, header.file_id):
                return Tracked(path, False, record.path)
    return Tracked(path, False)


def track(
    manager: KeyManager, header: Header, path: str, keys: Iterable[str], verdict: Verdict = NOT_CHECKED
) -> Tracked:
    """Update the registry's row of a container that was opened; `keys` open it. Returns its location."""
    return track_all(manager, [SeenContainer(header, path, frozenset(keys), verdict.signed, verdict.node_id)])[0]


def track_all(manager: KeyManager, seen: Sequence[SeenContainer]) -> list[Tracked]:
    """Update the rows of many containers as `track` does one, with one read and few transactions."""
    known, now = manager.locations_by_id(each.header.file_id for each in seen), manager.now()
    places: list[Tracked] = []
    records: list[ContainerRecord] = []
    moved_from: dict[tuple[bytes, str], str] = {}
    for each in seen:
        rows = known.get(each.header.file_id, ())
        place = followed(rows, each.header, each.path)
        record = each.row(place, rows, now)
        if not any(replace(row, last_seen=now) == record for row in rows):
            records.append(record)
        if place.was is not None:
            moved_from[record.file_id, record.path] = place.was
        places.append(place)
    manager.register_all(records, moved_from)
    return places
