"""The operator's view of the registry of containers: lists them, scans for moved ones, forgets lost ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.containers.claims import MAX_CLAIMS, Claim
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.dispatch.releases import Standing
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.archive import Archived
from tiktrue_keys.core.operations.forget import Forgotten
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import NotFoundError, TikTrueKeysError, UnavailableError, UsageError, WrongLicenseError
from tiktrue_keys.models.container.data_key import HeldKeys, asked_once, held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.container.released import ReleaseStandings
from tiktrue_keys.models.format.header import FILE_ID_LENGTH, SUFFIX, Header
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.registry.tracking import Tracked, track
from tiktrue_keys.models.storage.location import Place, Url, parse_place, recorded_path
from tiktrue_keys.models.storage.protocol import storage_of

PRESENT, MISSING, REPLACED, UNREADABLE, PIPED = "present", "missing", "replaced", "unreadable", "piped"
LOCKED = "locked"


@dataclass(frozen=True)
class Registered:
    """A row of the registry and the state of its path; `keys_in_file` of a present container, not authenticated.

    `release` is what the release of its model says of it, None where the model has none.
    """

    record: ContainerRecord
    state: str
    keys_in_file: frozenset[str] | None
    release: Standing | None = None


@dataclass(frozen=True, kw_only=True)
class Scanned(OperationResult):
    """The result of a scan: rows added, moved, updated and unchanged, and paths of the others.

    `copies` are those of `added` that are copies, with the path of another one; `waiting` could not be authenticated;
    `foreign` have no key of this keystore.
    """

    added: tuple[ContainerRecord, ...] = ()
    moved: tuple[ContainerRecord, ...] = ()
    updated: tuple[ContainerRecord, ...] = ()
    unchanged: tuple[ContainerRecord, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    waiting: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    failed: tuple[tuple[str, TikTrueKeysError], ...] = ()


class HeaderReader:
    """Reads the headers of many registered containers. A storage that was unreachable once is not tried again."""

    def __init__(self) -> None:
        self._out_of_reach: dict[str, UnavailableError] = {}

    def slots(self, path: str) -> HeaderSlots:
        """Read the header at `path`. Raises UnavailableError when the storage does not answer promptly."""
        storage = storage_of(parse_place(path))
        if storage.group in self._out_of_reach:
            raise self._out_of_reach[storage.group]
        try:
            return storage.promptly(storage.slots)
        except UnavailableError as error:
            self._out_of_reach[storage.group] = error
            raise

    def wraps_in(self, record: ContainerRecord) -> frozenset[str] | None:
        """Return the key ids that open a registered container, from its current header; None when unknown.

        It is unknown when the file is missing (its disk may not be mounted) or another container is at the path. Only
        `models forget` declares a container gone.
        """
        if record.piped or not record.path:
            return None
        try:
            slots = self.slots(record.path)
        except TikTrueKeysError:
            return None
        if slots.current.header.file_id != record.file_id:
            return None
        return slots.current.header.key_ids


def list_containers(manager: KeyManager) -> tuple[Registered, ...]:
    """Return every registered container, by path, with the state of its path. Reads headers, opens no key."""
    reader, standings = HeaderReader(), ReleaseStandings(manager)
    held: dict[str, bool] = {}
    found = (_judged(manager, _looked_up(record, reader), held) for record in manager.containers())
    return tuple(
        replace(each, release=standings.of(each.record.model_id, each.record.file_id, each.record.path))
        for each in found
    )


def locked_containers(manager: KeyManager) -> tuple[Registered, ...]:
    """Return the registered containers that are there and that no key of this keystore opens, by their headers."""
    return tuple(each for each in list_containers(manager) if each.state == LOCKED)


def _judged(manager: KeyManager, found: Registered, held: dict[str, bool]) -> Registered:
    """Return the row with the state LOCKED where the header names no key of this keystore."""
    if found.state != PRESENT or not found.keys_in_file:
        return found
    for key_id in found.keys_in_file - held.keys():
        held[key_id] = manager.holds(key_id)
    return found if any(held[key_id] for key_id in found.keys_in_file) else replace(found, state=LOCKED)


def scan(manager: KeyManager, folder: str | PathLike[str] | Url, license_key: License | None = None) -> Scanned:
    """Register the containers (*.ttm) below a folder that this keystore holds a key for, and follow moved ones.

    A row changes only by a header that a held key authenticates. Without the license of its keys a container waits: its
    row is touched, or, where it has none, its keys are noted as claims, which delay their destruction. The folder may
    be a URL, a prefix of objects. Symbolic links are not followed.
    """
    with HeldKeys(manager, asked_once(license_key), Use.RECOVER_REVOKED) as keys:
        found = _Findings(manager, keys)
        for path in storage_of(parse_place(folder)).below(SUFFIX, found.not_read):
            try:
                found.take(path)
            except TikTrueKeysError as error:
                found.failed.append((str(path), error))
    return found.result(recorded_path(parse_place(folder)))


def forget(
    manager: KeyManager, file_id: str, *, location: str | Place | None = None, operation_id: str | None = None
) -> Forgotten:
    """Remove a container (file id, 32 hex digits) from the registry, at one location or all.

    Raises UsageError for a malformed file id, NotFoundError where there is none.
    """
    return manager.forget(parse_file_id(file_id), location=_recorded(location), operation_id=operation_id)


def archive(
    manager: KeyManager,
    file_id: str,
    *,
    location: str | Place | None = None,
    undo: bool = False,
    operation_id: str | None = None,
) -> Archived:
    """Mark a container (file id, 32 hex digits) as offline on purpose, or with `undo` as watched again.

    Raises UsageError for a malformed file id, NotFoundError where there is none.
    """
    return manager.archive(parse_file_id(file_id), location=_recorded(location), undo=undo, operation_id=operation_id)


def registered_at(
    manager: KeyManager, file_id: str, location: str | Place | None = None
) -> tuple[ContainerRecord, ...]:
    """Return the registered locations of a container, or the one named. Raises as `forget` does."""
    return manager.registered_at(parse_file_id(file_id), _recorded(location))


def _recorded(location: str | Place | None) -> str | None:
    return None if location is None else recorded_path(parse_place(location))


def parse_file_id(text: str) -> bytes:
    """Return the 16 bytes of a file id, or of a folder id. Raises UsageError unless it has 32 hex digits."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != FILE_ID_LENGTH or raw.hex() != text.lower():
        raise UsageError(f"'{text[:40]}' is not a file id", "it has 32 hex digits", remedy="list-containers")
    return raw


@dataclass
class _Findings:
    manager: KeyManager
    keys: HeldKeys
    added: list[ContainerRecord] = field(default_factory=list)
    moved: list[ContainerRecord] = field(default_factory=list)
    updated: list[ContainerRecord] = field(default_factory=list)
    unchanged: list[ContainerRecord] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[Claim] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[tuple[str, TikTrueKeysError]] = field(default_factory=list)

    def not_read(self, folder: Path, error: TikTrueKeysError) -> None:
        self.failed.append((str(folder), error))

    def take(self, path: Place) -> None:
        slots = slots_at(path)
        header, text = slots.current.header, recorded_path(path)
        keys = frozenset(held_keys(self.manager, header))
        known = self.manager.locations(header.file_id)
        if not keys:
            self.foreign.append(text)
            return
        if not self._is_authentic(slots):
            self._wait(header, text, keys, known)
            return
        if not slots.equal:  # a rewrap was interrupted: either slot's keys may open it
            keys |= frozenset(key_id for record in known if record.path == text for key_id in record.keys)
        place = track(self.manager, header, text, keys)
        (now,) = [record for record in self.manager.locations(header.file_id) if record.path == text]
        self._where(known, now, place).append(now)

    def _is_authentic(self, slots: HeaderSlots) -> bool:
        """Return whether a held key that can be opened here authenticates the header.

        Raises IntegrityError when the header was changed.
        """
        try:
            with self.keys.data_key(slots.current.header) as opened:
                slots.current.authenticate(opened.secret.view)
        except (UsageError, WrongLicenseError):
            return False
        return True

    def _wait(self, header: Header, path: str, keys: frozenset[str], known: Sequence[ContainerRecord]) -> None:
        at_path = [record for record in known if record.path == path]
        if at_path:
            self.manager.register(replace(at_path[0], last_seen=self.manager.now()))
        self.waiting.append(Claim(path, header.file_id, keys, self.manager.now()))

    def _where(self, known: Sequence[ContainerRecord], now: ContainerRecord, place: Tracked) -> list[ContainerRecord]:
        if place.was is not None:
            return self.moved
        before = [record for record in known if record.path == now.path]
        if not before:
            if known:
                self.copies.append((now.path, known[0].path))
            return self.added
        return self.unchanged if replace(before[0], last_seen=now.last_seen) == now else self.updated

    def result(self, folder: str) -> Scanned:
        """Store the claims, drop those below the folder that are settled or gone, and return what was found."""
        claims = [claim for claim in self.waiting if not self._is_registered(claim)]
        paths = {claim.path for claim in claims}
        gone = [
            claim.path
            for claim in self.manager.claims()
            if _is_below(claim.path, folder) and claim.path not in paths and not self._is_unread(claim.path)
        ]
        refused = self.manager.claim(claims, gone)
        warnings = []
        if self.waiting:
            words = (
                f"{plural(len(self.waiting), 'container')} not authenticated: the license was not given or is another"
            )
            warnings.append(Notice("waiting-containers", words, remedy="scan-with-license"))
        if refused:
            words = f"{plural(refused, 'container')} not noted: there are {MAX_CLAIMS} unverified ones already"
            warnings.append(Notice("too-many-claims", words, remedy="scan-with-license"))
        return Scanned(
            operation_id=new_operation_id(),
            changed=bool(self.added or self.moved or self.updated),
            warnings=tuple(warnings),
            added=tuple(self.added),
            moved=tuple(self.moved),
            updated=tuple(self.updated),
            unchanged=tuple(self.unchanged),
            copies=tuple(self.copies),
            waiting=tuple(claim.path for claim in self.waiting),
            foreign=tuple(self.foreign),
            failed=tuple(self.failed),
        )

    def _is_unread(self, path: str) -> bool:
        """Return whether the scan could not look at a path: what lies there keeps its keys."""
        return any(_is_below(path, unread) for unread, _ in self.failed)

    def _is_registered(self, claim: Claim) -> bool:
        records = self.manager.locations(claim.file_id)
        return any(record.path == claim.path and claim.keys <= record.keys for record in records)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _looked_up(record: ContainerRecord, reader: HeaderReader) -> Registered:
    if record.piped or not record.path:
        return Registered(record, PIPED, None)
    slots: HeaderSlots
    try:
        slots = reader.slots(record.path)
    except NotFoundError:
        return Registered(record, MISSING, None)
    except TikTrueKeysError:
        return Registered(record, UNREADABLE, None)
    if slots.current.header.file_id != record.file_id:
        return Registered(record, REPLACED, None)
    return Registered(record, PRESENT, slots.current.header.key_ids)
