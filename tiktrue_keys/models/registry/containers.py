"""The operator's view of the registry of containers: lists them, scans for moved ones, forgets lost ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from os import PathLike

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.forget import Forgotten
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import NotFoundError, TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.format.header import FILE_ID_LENGTH, SUFFIX
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.registry.tracking import track
from tiktrue_keys.models.storage.location import Place, Url, parse_place, recorded_path
from tiktrue_keys.models.storage.protocol import storage_of

PRESENT, MISSING, REPLACED, UNREADABLE, PIPED = "present", "missing", "replaced", "unreadable", "piped"


@dataclass(frozen=True)
class Registered:
    """A row of the registry and the state of its path; `keys_in_file` of a present container, not authenticated."""

    record: ContainerRecord
    state: str
    keys_in_file: frozenset[str] | None


@dataclass(frozen=True, kw_only=True)
class Scanned(OperationResult):
    """The result of a scan: rows added, moved, updated and unchanged; copies, containers without a key, failures."""

    added: tuple[ContainerRecord, ...] = ()
    moved: tuple[ContainerRecord, ...] = ()
    updated: tuple[ContainerRecord, ...] = ()
    unchanged: tuple[ContainerRecord, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
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
        return slots.current.header.key_ids if slots.equal else slots.current.header.key_ids | record.keys


def list_containers(manager: KeyManager) -> tuple[Registered, ...]:
    """Return every registered container, by path, with the state of its path. Reads headers, opens no key."""
    reader = HeaderReader()
    return tuple(_looked_up(record, reader) for record in manager.containers())


def scan(manager: KeyManager, folder: str | PathLike[str] | Url) -> Scanned:
    """Register the containers (*.ttm) below a folder that this keystore holds a key for, and follow moved ones.

    The folder may be a URL, a prefix of objects. Symbolic links are not followed. Headers are not authenticated:
    no key is opened.
    """
    found = _Findings()
    for path in storage_of(parse_place(folder)).below(SUFFIX):
        try:
            found.take(manager, path)
        except TikTrueKeysError as error:
            found.failed.append((str(path), error))
    return found.result()


def forget(manager: KeyManager, file_id: str, *, operation_id: str | None = None) -> Forgotten:
    """Remove a container (file id, 32 hex digits) from the registry. Raises UsageError, NotFoundError."""
    try:
        raw = bytes.fromhex(file_id)
    except ValueError:
        raw = b""
    if len(raw) != FILE_ID_LENGTH:
        raise UsageError(f"'{file_id[:40]}' is not a file id", "it has 32 hex digits", remedy="list-containers")
    return manager.forget(raw, operation_id=operation_id)


@dataclass
class _Findings:
    added: list[ContainerRecord] = field(default_factory=list)
    moved: list[ContainerRecord] = field(default_factory=list)
    updated: list[ContainerRecord] = field(default_factory=list)
    unchanged: list[ContainerRecord] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[tuple[str, TikTrueKeysError]] = field(default_factory=list)

    def take(self, manager: KeyManager, path: Place) -> None:
        slots = slots_at(path)
        header, text = slots.current.header, recorded_path(path)
        keys = frozenset(held_keys(manager, header))
        known = manager.container(header.file_id)
        if not keys:
            self.foreign.append(text)
            return
        place = track(manager, header, text, keys if slots.equal or known is None else keys | known.keys)
        if place.is_copy:
            self.copies.append((text, place.path))
            return
        now = manager.container(header.file_id)
        if now is not None:
            self._where(known, now).append(now)

    def _where(self, known: ContainerRecord | None, now: ContainerRecord) -> list[ContainerRecord]:
        if known is None:
            return self.added
        if known.path != now.path:
            return self.moved
        return self.unchanged if replace(known, last_seen=now.last_seen) == now else self.updated

    def result(self) -> Scanned:
        return Scanned(
            operation_id=new_operation_id(),
            changed=bool(self.added or self.moved or self.updated),
            added=tuple(self.added),
            moved=tuple(self.moved),
            updated=tuple(self.updated),
            unchanged=tuple(self.unchanged),
            copies=tuple(self.copies),
            foreign=tuple(self.foreign),
            failed=tuple(self.failed),
        )


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
