"""Wraps a container's data key under another managed key, in place, in constant time for any size of model.

In object storage the new header goes to the detached header beside the body (format/detached_header.py).

A rewrap does not lock out a holder of the data key or of an old copy of the file; re-encrypting does
(file/reencrypt.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from os import PathLike

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import NotFoundError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.container.data_key import asked_once, held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.file.rewrap_batch import (
    OPERATION,
    RewrapEnding,
    RewrapOptions,
    Rewrapped,
    WantedRewrap,
    rewrap_all,
)
from tiktrue_keys.models.registry.intent import FinishedOperation, repeated
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.location import Url, asked_place, object_place, parse_place

STALE = "stale-containers"


@dataclass(frozen=True)
class NotRewrapped:
    """A registered container that was not rewrapped, and why.

    `opens_until` is when its last known key stops decrypting, None while an active or pending key opens it or no key is
    known.
    """

    record: ContainerRecord
    error: TikTrueKeysError
    opens_until: Instant | None


@dataclass(frozen=True, kw_only=True)
class RewrapBatch(OperationResult):
    """The results for many containers: `done` (see their `changed`), `failed`, and `stale` for unreachable ones."""

    done: tuple[Rewrapped, ...] = ()
    failed: tuple[NotRewrapped, ...] = ()
    stale: tuple[NotRewrapped, ...] = ()


def rewrap_model(
    manager: KeyManager,
    path: str | PathLike[str] | Url,
    *,
    license_key: License | None = None,
    to: str | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Rewrapped:
    """Wrap the data key for `to` (a KEY argument; default: the active key of the chain that opens it now).

    Wraps for keys of other models and other keystores stay. Raises RefusedError when `to` belongs to an unrelated
    model, RevokedError when only a revoked key opens the container, BusyError when its lock times out, NotFoundError,
    IntegrityError, UnavailableError when the storage cannot be reached, and the errors of opening a key.
    """
    license_key = asked_once(license_key)
    request = OperationRequest.of(OPERATION, operation_id, {"path": asked_place(path), "to": to})
    again = repeated(manager, request, partial(_again, manager))
    if again is not None:
        return again
    options = RewrapOptions(license_key, to, lock_timeout, request=request)
    (ending,) = rewrap_all(manager, [WantedRewrap(object_place(path))], options)
    if isinstance(ending, TikTrueKeysError):
        raise ending
    return ending


def _again(manager: KeyManager, done: FinishedOperation) -> Rewrapped:
    """Return the container that an earlier operation rewrapped, in its current state."""
    header = slots_at(done.path).current.header
    done.must_be(header.file_id)
    ours = frozenset(held_keys(manager, header))
    return Rewrapped(
        operation_id=done.operation_id,
        changed=False,
        path=parse_place(done.path),
        file_id=done.file_id,
        model_id=header.model_id,
        keys_before=ours,
        keys_after=ours,
    )


def rewrap_registered(
    manager: KeyManager,
    keys: Iterable[str] | None = None,
    *,
    license_key: License | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> RewrapBatch:
    """Rewrap every registered container that one of `keys` (key ids) opens (default: every registered container).

    Continues after failures. A container that was made into a pipe cannot be reached, and is listed as stale. Archived
    containers are left out.
    """
    found = [record for record in _records(manager, keys) if record.archived_at is None]
    return rewrap_records(manager, found, license_key=license_key, lock_timeout=lock_timeout)


def rewrap_records(
    manager: KeyManager,
    wanted_records: Iterable[ContainerRecord],
    *,
    license_key: License | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> RewrapBatch:
    """Rewrap these registered containers, as rewrap_registered does."""
    license_key = asked_once(license_key)
    stale: list[NotRewrapped] = []
    records: list[ContainerRecord] = []
    for record in wanted_records:
        if record.piped:
            words = "it was written to a pipe: its location is unknown"
            error = UnavailableError(words, "scan the folder where it is now", remedy="scan-for-container")
            stale.append(not_rewrapped(manager, record, error))
        else:
            records.append(record)
    wanted = [WantedRewrap(parse_place(record.path), record.file_id) for record in records]
    endings = rewrap_all(manager, wanted, RewrapOptions(license_key, lock_timeout=lock_timeout))
    done, failed = sorted_out(manager, zip(records, endings, strict=True))
    return RewrapBatch(
        operation_id=new_operation_id(),
        changed=any(rewrapped.changed for rewrapped in done),
        warnings=(*(notice for rewrapped in done for notice in rewrapped.warnings), *_stale(failed + stale)),
        done=tuple(done),
        failed=tuple(failed),
        stale=tuple(stale),
    )


def sorted_out(
    manager: KeyManager, endings: Iterable[tuple[ContainerRecord, RewrapEnding]]
) -> tuple[list[Rewrapped], list[NotRewrapped]]:
    """Return the containers that were looked at, and those that were not rewrapped."""
    done: list[Rewrapped] = []
    failed: list[NotRewrapped] = []
    for record, ending in endings:
        if isinstance(ending, Rewrapped):
            done.append(ending)
        else:
            failed.append(not_rewrapped(manager, record, ending))
    return done, failed


def _records(manager: KeyManager, keys: Iterable[str] | None) -> list[ContainerRecord]:
    if keys is None:
        return list(manager.containers())
    found = {(record.file_id, record.path): record for key_id in keys for record in manager.containers(key_id)}
    return sorted(found.values(), key=lambda record: (record.path, record.file_id))


def not_rewrapped(manager: KeyManager, record: ContainerRecord, error: TikTrueKeysError) -> NotRewrapped:
    """Return the entry of a container that was not rewrapped, with the instant its last known key stops opening it."""
    keys = []
    for key_id in record.keys:
        try:
            keys.append(manager.find(key_id))
        except NotFoundError:
            continue
    ends = [key.decrypt_until if key.revoked_at is None else key.revoked_at for key in keys]
    open_ended = any(key.status in (Status.ACTIVE, Status.PENDING) for key in keys)
    return NotRewrapped(record, error, None if open_ended or not ends else max(ends))


def _stale(left: list[NotRewrapped]) -> tuple[Notice, ...]:
    if not left:
        return ()
    ends = [item.opens_until for item in left if item.opens_until is not None]
    when = f"; the first stops opening at {rfc3339(min(ends))}" if ends else ""
    return (Notice(STALE, f"{plural(len(left), 'container')} not rewrapped{when}"),)
