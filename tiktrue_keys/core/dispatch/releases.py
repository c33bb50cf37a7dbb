"""Releases: which containers of a model its authority lets anyone open.

Come here for the rule that refuses last week's container, although its signature is good. A model without a release has
no such rule. A release names containers by file id and root, and folders by folder id and the digest of their manifest;
what it has withdrawn is never named again. It travels in a revocation list, whose (epoch, number) orders it.

Does not handle: reading containers, and when the list ends that carries a release (revocation_lists.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.errors import RefusedError

ALL_RELEASES = Owner(RecordKind.RELEASE, "all")
MAX_ENTRIES = 256
MAX_WITHDRAWN = 512
NAME_LENGTH = 64
HERE = ""
"""The origin of a release that this keystore made."""
STAYS = Instant(0)
_UNKNOWN = Instant(0)

_KEPT_WITHDRAWN = 4 * MAX_WITHDRAWN
_ENTRIES_A_PART, _WITHDRAWN_A_PART = 24, 96


class Standing(Enum):
    """What a release says of a container or folder."""

    NAMED = "released"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class ReleaseEntry:
    """A container or folder that a release names: its id (16 bytes), and its root or manifest digest (32 bytes).

    `until` is when it leaves the release, STAYS if it does not. `name` is only known where the release was made.
    """

    file_id: bytes
    root: bytes
    until: Instant = STAYS
    name: str = ""

    def counts(self, now: Instant) -> bool:
        """Return whether it is still named."""
        return self.until == STAYS or now < self.until


@dataclass(frozen=True)
class Release:
    """The release of a model: its entries and withdrawn ids, each sorted by id.

    `origin` is the node id of the issuer that made it, or HERE. (`epoch`, `number`) are those of its revocation list.
    """

    model_id: str
    origin: str = HERE
    epoch: int = 0
    number: int = 0
    issued_at: Instant = _UNKNOWN
    entries: tuple[ReleaseEntry, ...] = ()
    withdrawn: tuple[bytes, ...] = ()

    def standing(self, file_id: bytes, root: bytes | None, now: Instant) -> Standing:
        """Return what it says of a container or folder. `root` None: by its id alone."""
        if file_id in self.withdrawn:
            return Standing.WITHDRAWN
        named = any(each.file_id == file_id and root in (None, each.root) for each in self.entries if each.counts(now))
        return Standing.NAMED if named else Standing.SUPERSEDED

    def amended(
        self, add: Iterable[ReleaseEntry], withdraw: Iterable[bytes], now: Instant, *, only: bool = False
    ) -> Release:
        """Return the release with entries added and ids withdrawn; with `only` it names no others.

        Raises RefusedError for an entry that was withdrawn, and when it would name or withdraw too many.
        """
        withdrawn = {*self.withdrawn, *withdraw}
        added = {each.file_id: each for each in add}
        for file_id in added:
            if file_id in withdrawn:
                raise RefusedError(
                    f"{file_id.hex()} was withdrawn from model {self.model_id} and cannot be released again",
                    "encrypt the model again: its new container has another id",
                    remedy="release-new-container",
                )
        kept = {} if only else {each.file_id: each for each in self.entries if each.counts(now)}
        entries = [entry for file_id, entry in (kept | added).items() if file_id not in withdrawn]
        if len(entries) > MAX_ENTRIES:
            raise RefusedError(
                f"a release names at most {MAX_ENTRIES} containers and folders, not {len(entries)}",
                "release a folder, which counts once, or only those in use",
                remedy="too-many-released",
            )
        if len(withdrawn) > MAX_WITHDRAWN:
            raise RefusedError(
                f"a model has at most {MAX_WITHDRAWN} withdrawn ids, not {len(withdrawn)}",
                "a container that no release names is refused already",
            )
        entries.sort(key=lambda each: each.file_id)
        return replace(self, entries=tuple(entries), withdrawn=tuple(sorted(withdrawn)))

    def without(self, file_ids: Collection[bytes]) -> Release:
        """Return the release without these entries, which stay nameable."""
        return replace(self, entries=tuple(each for each in self.entries if each.file_id not in file_ids))


@dataclass(frozen=True)
class CountingRelease:
    """The release that counts for a model at an instant.

    `ends_at` is the end of the newest list of its issuer; None for a release that was made here.
    """

    release: Release
    ends_at: Instant | None
    at: Instant

    def standing(self, file_id: bytes, root: bytes | None) -> Standing:
        """Return what it says of a container or folder now. `root` None: by its id alone."""
        return self.release.standing(file_id, root, self.at)


def get_release(rows: Rows, model_id: str, origin: str = HERE) -> Release | None:
    """Return the release of a model that came from `origin`, or None."""
    payload = rows.get(RecordKind.RELEASE, _name(model_id, origin))
    return None if payload is None else _release_of(rows, payload)


def all_releases(rows: Rows) -> tuple[Release, ...]:
    """Return every stored release, sorted by model id and origin."""
    found = [_release_of(rows, payload) for payload in rows.owned_by(RecordKind.RELEASE, ALL_RELEASES)]
    return tuple(sorted(found, key=lambda each: (each.model_id, each.origin)))


def own_releases(rows: Rows) -> tuple[Release, ...]:
    """Return the releases that this keystore made, sorted by model id."""
    return tuple(each for each in all_releases(rows) if each.origin == HERE)


def take_release(rows: Rows, release: Release) -> Release:
    """Store a release that came from its issuer, and return it. What the issuer withdrew before stays withdrawn."""
    known = get_release(rows, release.model_id, release.origin)
    if known is not None:
        room = _KEPT_WITHDRAWN - len(release.withdrawn)
        more = [each for each in known.withdrawn if each not in release.withdrawn][:room]
        release = replace(release, withdrawn=tuple(sorted((*release.withdrawn, *more))))
    put_release(rows, release)
    return release


def put_release(rows: Rows, release: Release) -> None:
    """Store a release, in parts that fit a record."""
    name = _name(release.model_id, release.origin)
    before = (rows.get(RecordKind.RELEASE, name) or {"parts": 0})["parts"]
    entries = _chunks([_entry_json(each) for each in release.entries], _ENTRIES_A_PART)
    withdrawn = _chunks([each.hex() for each in release.withdrawn], _WITHDRAWN_A_PART)
    parts = max(len(entries), len(withdrawn))
    for number in range(max(parts, before)):
        if number >= parts:
            rows.delete(RecordKind.RELEASE, f"{name} {number}")
            continue
        payload = {"entries": _at(entries, number), "withdrawn": _at(withdrawn, number)}
        rows.put(RecordKind.RELEASE, f"{name} {number}", payload)
    head = {
        "model_id": release.model_id,
        "origin": release.origin,
        "epoch": release.epoch,
        "number": release.number,
        "issued_at": release.issued_at,
        "parts": parts,
    }
    rows.put(RecordKind.RELEASE, name, head, ALL_RELEASES)


def _release_of(rows: Rows, payload: dict[str, Any]) -> Release:
    name = _name(payload["model_id"], payload["origin"])
    entries: list[ReleaseEntry] = []
    withdrawn: list[bytes] = []
    for number in range(payload["parts"]):
        part = rows.get(RecordKind.RELEASE, f"{name} {number}") or {"entries": [], "withdrawn": []}
        entries += [_entry_of(each) for each in part["entries"]]
        withdrawn += [bytes.fromhex(each) for each in part["withdrawn"]]
    return Release(
        payload["model_id"],
        payload["origin"],
        payload["epoch"],
        payload["number"],
        payload["issued_at"],
        tuple(entries),
        tuple(withdrawn),
    )


def _name(model_id: str, origin: str) -> str:
    return f"model {model_id} {origin}" if origin else f"model {model_id}"


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _at(chunks: Sequence[Sequence[Any]], number: int) -> Sequence[Any]:
    return chunks[number] if number < len(chunks) else []


def _entry_json(entry: ReleaseEntry) -> list[Any]:
    return [entry.file_id.hex(), entry.root.hex(), entry.until, entry.name[:NAME_LENGTH]]


def _entry_of(payload: Sequence[Any]) -> ReleaseEntry:
    file_id, root, until, name = payload
    return ReleaseEntry(bytes.fromhex(file_id), bytes.fromhex(root), Instant(until), name)
