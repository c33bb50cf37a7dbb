"""Wraps a container's data key under another managed key, in place, in constant time for any size of model.

In object storage the new header goes to the detached header beside the body (format/detached_header.py).

A rewrap does not lock out a holder of the data key or of an old copy of the file; re-encrypting does
(file/reencrypt.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, Use
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.models.container.data_key import OpenedDataKey, asked_once, held_keys, open_data_key
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.format.header import Header, Wrap, WrapType
from tiktrue_keys.models.format.wraps import wrap_for_key
from tiktrue_keys.models.registry.intent import FinishedOperation, file_operation, noted, repeated
from tiktrue_keys.models.registry.tracking import followed, track
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.location import Place, Url, asked_place, object_place, parse_place, recorded_path
from tiktrue_keys.models.storage.protocol import HeldContainer, storage_of

OPERATION = "rewrap"
STALE = "stale-containers"


@dataclass(frozen=True, kw_only=True)
class Rewrapped(OperationResult):
    """A container with the ids of this keystore's keys that opened it before and that open it now."""

    path: Place
    file_id: bytes
    model_id: str
    keys_before: frozenset[str]
    keys_after: frozenset[str]


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
    with noted(manager, OPERATION, request.operation_id):
        must_be_a_model(manager.output_gate(), object_place(path))
    # Lock order: file, then keystore. Everything is decided under the lock, so that the second of two rewraps
    # sees the result of the first; in object storage the second one's write is refused.
    with storage_of(object_place(path)).held(lock_timeout) as held, ExitStack() as stack:
        recorded = recorded_path(held.place)
        with noted(manager, OPERATION, request.operation_id):
            slots = held.slots()
            header = slots.current.header
            opened = stack.enter_context(open_data_key(manager, header, license_key, Use.DECRYPT_DEPRECATED))
            held.authenticate(opened.secret.view)
            ours = held_keys(manager, header)
            new, target = _new_header(manager, header, ours, opened, license_key, to)
        result = Rewrapped(
            operation_id=request.operation_id,
            changed=False,
            warnings=opened.notices if new == header else (),
            path=held.place,
            file_id=header.file_id,
            model_id=header.model_id,
            keys_before=frozenset(ours),
            keys_after=new.key_ids & {*ours, target},
        )
        if new == header and slots.equal:
            track(manager, header, recorded, result.keys_after)
            return result
        return _rewrite(manager, held, header, new, opened, result, request)


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

    Continues after failures. A container that was made into a pipe cannot be reached, and is listed as stale.
    """
    license_key = asked_once(license_key)
    done: list[Rewrapped] = []
    failed: list[NotRewrapped] = []
    stale: list[NotRewrapped] = []
    for record in _records(manager, keys):
        if record.piped:
            words = "it was written to a pipe: its location is unknown"
            error = UnavailableError(words, "scan the folder where it is now", remedy="scan-for-container")
            stale.append(not_rewrapped(manager, record, error))
            continue
        try:
            done.append(_rewrap_record(manager, record, license_key, lock_timeout))
        except TikTrueKeysError as error:
            failed.append(not_rewrapped(manager, record, error))
    return RewrapBatch(
        operation_id=new_operation_id(),
        changed=any(rewrapped.changed for rewrapped in done),
        warnings=(*(notice for rewrapped in done for notice in rewrapped.warnings), *_stale(failed + stale)),
        done=tuple(done),
        failed=tuple(failed),
        stale=tuple(stale),
    )


def active_key(manager: KeyManager, key: ManagedKey) -> ManagedKey:
    """Return the active key of a key's chain, else of its model, else the head of the chain.

    Opening that head then raises the reason why it cannot be used.
    """
    chain = manager.chain(key)
    for generation in reversed(chain):
        if generation.status is Status.ACTIVE:
            return generation
    with suppress(NotFoundError, UsageError):  # after a revocation the model may have a new chain
        other = manager.find(key.model_id)
        if other.status is Status.ACTIVE:
            return other
    return chain[-1]


def _new_header(
    manager: KeyManager,
    header: Header,
    ours: Mapping[str, ManagedKey],
    data_key: OpenedDataKey,
    license_key: License | None,
    to: str | None,
) -> tuple[Header, str]:
    """Return the header with one wrap for the target instead of its model's wraps, and the target's key id.

    Raises RefusedError for a target of an unrelated model.
    """
    target = manager.find(to) if to is not None else active_key(manager, data_key.key)
    if target.model_id not in {header.model_id, *(key.model_id for key in ours.values())}:
        raise RefusedError(
            f"the container belongs to {header.model_id}, key {target.key_id} to another model",
            "re-encrypt it to move it to another model",
            remedy="reencrypt-for-model",
            about={"key": target.key_id},
        )
    old = {key_id for key_id, key in ours.items() if key.model_id == target.model_id}
    kept = tuple(wrap for wrap in header.wraps if wrap.key_id not in old)
    wrap = _wrap_of(header, target) or _new_wrap(manager, header, target, data_key, license_key)
    return header.with_wraps((*kept, wrap)), target.key_id


def _new_wrap(
    manager: KeyManager, header: Header, target: ManagedKey, data_key: OpenedDataKey, license_key: License | None
) -> Wrap:
    with manager.open_key(target.key_id, license_key, use=Use.ENCRYPT) as opened:
        return wrap_for_key(
            data_key.secret.view,
            opened.secret.view,
            file_id=header.file_id,
            model_id=header.model_id,
            key_id=target.key_id,
            generation=target.generation,
        )


def _wrap_of(header: Header, key: ManagedKey) -> Wrap | None:
    wanted = (key.key_id, key.generation, WrapType.MANAGED_KEY)
    return next((wrap for wrap in header.wraps if (wrap.key_id, wrap.generation, wrap.type) == wanted), None)


def _rewrite(
    manager: KeyManager,
    held: HeldContainer,
    header: Header,
    new: Header,
    opened: OpenedDataKey,
    result: Rewrapped,
    request: OperationRequest,
) -> Rewrapped:
    path = recorded_path(result.path)
    known = manager.container(header.file_id)
    place = followed(known, header, path)
    intent = FileIntent(
        OPERATION,
        header.file_id,
        path,
        result.keys_before,
        result.keys_after,
        model_id=header.model_id,
        name=header.name,
    )
    if known is not None and known.piped:
        manager.register(replace(known, path=path, piped=False))
    # Until both slots are intact and equal, either key may be the one that opens it.
    with file_operation(manager, intent, request, keys=intent.needs) as outcome:
        held.rewrite(new, opened.secret.view)
        outcome.keys = result.keys_after
    if place.is_copy and known is not None:
        manager.register(known)  # the row keeps following the other copy, which the old key still opens
    return replace(result, operation_id=outcome.operation_id, changed=True, warnings=place.notices)


def _records(manager: KeyManager, keys: Iterable[str] | None) -> list[ContainerRecord]:
    if keys is None:
        return list(manager.containers())
    found = {record.file_id: record for key_id in keys for record in manager.containers(key_id)}
    return sorted(found.values(), key=lambda record: (record.path, record.file_id))


def _rewrap_record(
    manager: KeyManager, record: ContainerRecord, license_key: License | None, lock_timeout: float
) -> Rewrapped:
    found = slots_at(record.path).current.header.file_id
    if found != record.file_id:
        raise NotFoundError(
            f"another container is at {shown(record.path)}",
            "scan the folder where it is now, or forget it",
            remedy="moved-container",
            about={"file_id": record.file_id.hex()},
        )
    return rewrap_model(manager, record.path, license_key=license_key, lock_timeout=lock_timeout)


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
