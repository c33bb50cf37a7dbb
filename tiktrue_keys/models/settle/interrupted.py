"""Settles the open operations of a process that died: removes temporary files and records how each one really ended.

Every command that writes calls it first. It relies on the files, not on the intent. It opens no key and changes no
container.

Does not handle: operations of processes that still run; files that cannot be read now (an unmounted disk, a storage
that does not answer in time). These operations stay open, and their keys stay needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.owner_process import is_running
from tiktrue_keys.core.containers.settlement import FAILED, OK, ROWS_AT_ONCE, Ending, Settlement
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.folder import decrypt, encrypt, reencrypt
from tiktrue_keys.models.folder.resume import RESUMABLE
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.format.trailer import Signature
from tiktrue_keys.models.settle.folder import folder_ending
from tiktrue_keys.models.storage.location import Place, parse_place
from tiktrue_keys.models.storage.protocol import Storage, storage_of

OPEN = "open"
INTERRUPTED = "interrupted"
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""The name of an output before it has its own; a long one is cut, and its own is then not found."""


@dataclass(frozen=True)
class SettledOperation:
    """An operation of a process that died, and its outcome; `open` when it cannot be determined now."""

    intent: FileIntent
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Settled(OperationResult):
    """The operations that were open. `changed` is true when any was settled."""

    operations: tuple[SettledOperation, ...] = ()


def settle_intents(manager: KeyManager) -> Settled:
    """Settle every open operation of a process that no longer runs. Costs one read when none is open.

    A rehearsal settles none: their files are those of the keystore that it was made from.
    """
    mine = () if manager.document().rehearsal else manager.open_intents()
    left = [intent for intent in mine if not is_running(intent.process)]
    files = [intent for intent in left if not intent.of_folder]
    settled: list[SettledOperation] = []
    for at in range(0, len(files), ROWS_AT_ONCE):
        settled += _settle(manager, files[at : at + ROWS_AT_ONCE])
    # Files before folders: settling a folder changes the rows of its files.
    for intent in left:
        if intent.of_folder:
            settled += _settle(manager, [intent])
    return Settled(
        operation_id=new_operation_id(),
        changed=any(item.outcome != OPEN for item in settled),
        warnings=tuple(_notice(item.intent, item.outcome) for item in settled if item.outcome != OK),
        operations=tuple(settled),
    )


def _settle(manager: KeyManager, intents: Sequence[FileIntent]) -> list[SettledOperation]:
    """Settle operations in one transaction."""
    endings: dict[str, Ending] = {}
    for intent in intents:
        find_ending = _ENDINGS.get(intent.operation)
        with suppress(TikTrueKeysError):
            if find_ending is not None:
                ending = find_ending(manager, intent)
                endings[intent.operation_id] = replace(ending, detail={"settled": True, **ending.detail})
    _finish(manager, endings)
    outcomes = {operation_id: ending.outcome for operation_id, ending in endings.items()}
    return [SettledOperation(intent, outcomes.get(intent.operation_id, OPEN)) for intent in intents]


def _finish(manager: KeyManager, endings: Mapping[str, Ending]) -> None:
    """Record the endings. One that another process has settled meanwhile is left out."""
    if not endings:
        return
    with suppress(IntegrityError):
        manager.finish_file_operations(endings)
        return
    if len(endings) > 1:
        for operation_id, ending in endings.items():
            _finish(manager, {operation_id: ending})


def _new_container(manager: KeyManager, intent: FileIntent) -> Ending:
    """Done when the new container is at the path. A pipe cannot be checked, so its key stays needed."""
    if intent.piped:
        return Ending(FAILED, intent.keys_after)
    storage = storage_of(parse_place(intent.path))
    slots = storage.promptly(partial(_slots_left, storage, intent.temporary))
    if slots is None or slots.current.header.file_id != intent.file_id:
        if not any(other.path == intent.path and other != intent for other in manager.open_intents()):
            with suppress(TikTrueKeysError):
                storage.promptly(partial(storage.give_up_uploads, intent.at))
        return Ending(FAILED, None)
    gone = [r.file_id for r in manager.containers() if r.path == intent.path and r.file_id != intent.file_id]
    detail = {"old_file_id": gone[0].hex()} if len(gone) == 1 else {}
    return Ending(OK, frozenset(held_keys(manager, slots.current.header)), detail, Settlement(gone=gone))


def _slots_left(storage: Storage, temporary: str | None) -> HeaderSlots | None:
    if temporary is not None:
        storage_of(parse_place(temporary)).remove_unfinished()
    return storage.left()


def _rewrapped(manager: KeyManager, intent: FileIntent) -> Ending:
    """Done when both header slots are equal and have exactly the new keys; otherwise rewrap again to finish it."""
    storage = storage_of(parse_place(intent.path))
    storage.must_be_unclaimed()
    slots = storage.promptly(storage.left)
    if slots is None or slots.current.header.file_id != intent.file_id:
        return Ending(FAILED, intent.needs)
    keys = frozenset(held_keys(manager, slots.current.header))
    if not slots.equal:
        return Ending(FAILED, keys | intent.needs)
    return Ending(OK if keys == intent.keys_after else FAILED, keys)


def _signed(manager: KeyManager, intent: FileIntent) -> Ending:
    """Done when this keystore's signature is there. Opening the container verifies it later."""
    storage = storage_of(parse_place(intent.path))
    slots = storage.promptly(storage.left)
    if slots is None or slots.current.header.file_id != intent.file_id:
        return Ending(FAILED, intent.needs)
    signature = storage.promptly(partial(_signature_at, storage.place))
    signed = signature is not None and signature.issuer == manager.issuer
    return Ending(OK if signed else FAILED, frozenset(held_keys(manager, slots.current.header)))


def _signature_at(place: Place) -> Signature | None:
    with opened_container(place) as found:
        return found.container.trailer.signature


def _decrypted(manager: KeyManager, intent: FileIntent) -> Ending:
    """Done when the temporary file is gone and the output is new. The container itself is unchanged."""
    known = [record for record in manager.locations(intent.file_id) if record.path == intent.path]
    keys = known[0].keys if known else intent.needs
    if intent.temporary is None:
        return Ending(FAILED, keys)
    temporary = parse_place(intent.temporary)
    done = storage_of(temporary).promptly(partial(_plaintext_is_there, temporary, intent))
    return Ending(OK if done else FAILED, keys)


def _plaintext_is_there(temporary: Place, intent: FileIntent) -> bool:
    """Return whether the output is complete. `temporary` is its final name where a partial output is invisible."""
    named = _TEMPORARY.fullmatch(temporary.name)
    if named is None:
        return storage_of(temporary).is_new(intent)
    if storage_of(temporary).remove_unfinished():
        return False
    return storage_of(temporary.with_name(named[1])).is_new(intent)


_ENDINGS: dict[str, Callable[[KeyManager, FileIntent], Ending]] = {
    "encrypt": _new_container,
    "reencrypt": _new_container,
    "rewrap": _rewrapped,
    "decrypt": _decrypted,
    "sign": _signed,
    encrypt.OPERATION: folder_ending,
    decrypt.OPERATION: folder_ending,
    reencrypt.OPERATION: folder_ending,
    RESUMABLE: folder_ending,
}


def _notice(intent: FileIntent, outcome: str) -> Notice:
    where = shown(intent.path) if intent.path else "a pipe"
    if outcome == OPEN:
        return Notice(INTERRUPTED, f"an interrupted {intent.operation} of {where} cannot be settled yet")
    words = f"an interrupted {intent.operation} of {where} did not finish"
    if intent.operation == "rewrap" and intent.path:
        return Notice(INTERRUPTED, words, remedy="finish-rewrap", about={"path": intent.path})
    return Notice(INTERRUPTED, words)
