"""Settles what a process that died has left open: removes its temporary files and records how its acts really ended.

Every command that writes calls it first. It believes the files, not the intent; it opens no key, changes no container.
Does not handle: acts of processes that still run, and files that cannot be read now (their disk is not mounted): those
stay open, and their keys with them.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tiktrue_keys.core.containers.intents import NO_OTHERS, FileIntent, Settlement
from tiktrue_keys.core.containers.owner_process import is_running
from tiktrue_keys.core.durable import opened_regular, sync_folder
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import BusyError, IntegrityError, NotFoundError, TikTrueKeysError
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.folder import decrypt, encrypt, reencrypt
from tiktrue_keys.models.folder.job import followed_folder
from tiktrue_keys.models.folder.manifest_file import lies_there, read_manifest
from tiktrue_keys.models.folder.resume import RESUMABLE
from tiktrue_keys.models.folder.swap import FolderPlace
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.settle.remote import is_remote, remote_ending
from tiktrue_keys.models.storage.claim import must_be_unclaimed
from tiktrue_keys.models.storage.output_identity import file_identity, is_another_file

OK, FAILED, OPEN = "ok", "failed", "open"
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class SettledAct:
    """An act of a process that died: how it ended, `open` when that cannot be told now."""

    act: FileIntent
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Settled(OperationResult):
    """What was found open. `changed` when anything was settled."""

    acts: tuple[SettledAct, ...] = ()


@dataclass(frozen=True)
class _Ending:
    """How an act ended, and which keys open its file now (None: there is none)."""

    outcome: str
    keys: frozenset[str] | None
    detail: Mapping[str, str] = field(default_factory=dict)
    others: Settlement = NO_OTHERS


def settle_intents(manager: KeyManager) -> Settled:
    """Settle every open act of a process that is not running any more; costs one read when nothing is open."""
    settled, warnings = [], []
    # Files before folders: what becomes of a folder's files goes with the folder.
    for act in sorted(manager.open_intents(), key=lambda act: "-folder" in act.act):
        if is_running(act.process):
            continue
        outcome = _settle(manager, act)
        settled.append(SettledAct(act, outcome))
        if outcome != OK:
            warnings.append(_notice(act, outcome))
    return Settled(
        operation_id=new_operation_id(),
        changed=any(item.outcome != OPEN for item in settled),
        warnings=tuple(warnings),
        acts=tuple(settled),
    )


def _settle(manager: KeyManager, act: FileIntent) -> str:
    find_ending = _ENDINGS.get(act.act)
    if find_ending is None:
        return OPEN
    try:
        ending = _Ending(*remote_ending(manager, act)) if is_remote(act) else find_ending(manager, act)
    except TikTrueKeysError:
        return OPEN
    with suppress(IntegrityError):  # settled by another process meanwhile
        manager.finish_file_act(
            act.operation_id,
            outcome=ending.outcome,
            keys=ending.keys,
            detail={"settled": True, **ending.detail},
            others=ending.others,
        )
    return ending.outcome


def _new_container(manager: KeyManager, act: FileIntent) -> _Ending:
    """encrypt, reencrypt: a new container is at the path, or not. Into a pipe nobody can look: its key stays needed."""
    if act.piped:
        return _Ending(FAILED, act.keys_after)
    _remove_temporary(act)
    slots = _slots_or_none(act)
    if slots is None or slots.current.header.file_id != act.file_id:
        return _Ending(FAILED, None)
    gone = [r.file_id for r in manager.containers() if r.path == act.path and r.file_id != act.file_id]
    detail = {"old_file_id": gone[0].hex()} if len(gone) == 1 else {}
    return _Ending(OK, frozenset(held_keys(manager, slots.current.header)), detail, Settlement(gone=gone))


def _rewrapped(manager: KeyManager, act: FileIntent) -> _Ending:
    """Done when both copies of the header are whole, equal and without the old key; else a rewrap has to finish it."""
    must_be_unclaimed(act.path)
    slots = _slots_or_none(act)
    if slots is None or slots.current.header.file_id != act.file_id:
        return _Ending(FAILED, act.needs)
    keys = frozenset(held_keys(manager, slots.current.header))
    if not slots.equal:
        return _Ending(FAILED, keys | act.needs)
    return _Ending(OK if keys == act.keys_after else FAILED, keys)


def _signed(manager: KeyManager, act: FileIntent) -> _Ending:
    """The signature is there, or the place for it is as empty as before; whoever opens it next verifies it."""
    slots = _slots_or_none(act)
    if slots is None or slots.current.header.file_id != act.file_id:
        return _Ending(FAILED, act.needs)
    with opened_regular(act.path, "the container") as fd, foreign_os_errors("the container", act.path):
        signature = read_container(fd).trailer.signature
    signed = signature is not None and signature.issuer == manager.issuer
    return _Ending(OK if signed else FAILED, frozenset(held_keys(manager, slots.current.header)))


def _decrypted(manager: KeyManager, act: FileIntent) -> _Ending:
    """The container is what it was; the plaintext has its name when the temporary is gone and the name is new."""
    known = manager.container(act.file_id)
    keys = known.keys if known is not None else act.needs
    if act.temporary is None or _remove_temporary(act):
        return _Ending(FAILED, keys)
    return _Ending(OK if _is_new(_named(Path(act.temporary)), act) else FAILED, keys)


def _folder(manager: KeyManager, act: FileIntent) -> _Ending:
    """A folder lies at its path or it does not; between the two renames of a replacement it is completed."""
    assert act.temporary is not None, "a folder is built under a temporary name"
    place = FolderPlace(Path(act.path), Path(act.temporary))
    _must_be_reachable(place.destination)
    must_be_unclaimed(place.temporary)
    if place.aside.is_dir() and not os.path.lexists(place.destination):
        # The manifest is written before the old folder goes aside, so a built folder that is still there is complete.
        with foreign_os_errors("the folder", place.destination):
            os.rename(place.temporary if place.temporary.is_dir() else place.aside, place.destination)
            sync_folder(place.destination.parent)
    built, replaced = place.temporary.is_dir(), place.aside.is_dir()
    if act.act != RESUMABLE:
        shutil.rmtree(place.temporary, ignore_errors=True)
    shutil.rmtree(place.aside, ignore_errors=True)
    if act.act == decrypt.OPERATION:
        return _Ending(OK if not built and (replaced or _is_new(place.destination, act)) else FAILED, None)
    if lies_there(place.destination, act.file_id):
        moved = followed_folder(place.destination, read_manifest(place.destination).manifest)
        return _Ending(OK, None, others=Settlement(moved, _registered(manager, place, besides=moved)))
    # What an encryption has finished waits in the temporary folder for the run that takes it over.
    gone = () if act.act == RESUMABLE else _registered_below(manager, place.temporary)
    return _Ending(FAILED, None, others=Settlement(gone=gone))


def _registered_below(manager: KeyManager, folder: Path) -> list[bytes]:
    records = [record for record in manager.containers() if record.path]
    return [record.file_id for record in records if Path(record.path).is_relative_to(folder)]


def _registered(manager: KeyManager, place: FolderPlace, *, besides: Collection[bytes]) -> list[bytes]:
    """The registered containers that were in the temporary folder and in the one that was replaced."""
    found = _registered_below(manager, place.temporary) + _registered_below(manager, place.destination)
    return [file_id for file_id in found if file_id not in besides]


_ENDINGS: dict[str, Callable[[KeyManager, FileIntent], _Ending]] = {
    "encrypt": _new_container,
    "reencrypt": _new_container,
    "rewrap": _rewrapped,
    "decrypt": _decrypted,
    "sign": _signed,
    encrypt.OPERATION: _folder,
    decrypt.OPERATION: _folder,
    reencrypt.OPERATION: _folder,
    RESUMABLE: _folder,
}


def _slots_or_none(act: FileIntent) -> HeaderSlots | None:
    """The header at an act's path; None when no container is there. Raises when nobody can tell."""
    _must_be_reachable(Path(act.path))
    try:
        return slots_at(act.path)
    except (NotFoundError, IntegrityError):
        return None


def _must_be_reachable(path: Path) -> None:
    """BusyError when not even the folder is there: its disk may come back."""
    if not path.parent.is_dir():
        raise BusyError(f"{shown(path.parent)} cannot be read now")


def _remove_temporary(act: FileIntent) -> bool:
    """Remove the temporary that an act has left; whether there was one without a name of its own."""
    if act.temporary is None:
        return False
    _must_be_reachable(Path(act.temporary))
    must_be_unclaimed(act.temporary)
    try:
        with foreign_os_errors("the temporary file", act.temporary):
            found = os.lstat(act.temporary)
            if not stat.S_ISREG(found.st_mode):
                return False
            os.unlink(act.temporary)
            sync_folder(Path(act.temporary).parent)
    except NotFoundError:
        return False
    return found.st_nlink == 1  # with two the file has its name already


def _named(temporary: Path) -> Path:
    """The destination of a temporary file `.NAME.<8 hex>.tmp` (core/durable.py); long names are cut and not found."""
    return temporary.with_name(temporary.name.rpartition(".tmp")[0].rpartition(".")[0].removeprefix("."))


def _is_new(path: Path, act: FileIntent) -> bool:
    """Whether the act has given its output this name.

    Where an intent of an earlier version does not say what had the name before, only a time of change (which a rename
    sets) after the second of the intent is certain: rather a finished act is called failed, and done again, than an old
    output taken for the new one.
    """
    if act.before is not None:
        return is_another_file(act.before, file_identity(path))
    try:
        return os.lstat(path).st_ctime_ns // 10**9 > act.at or not act.replaces
    except OSError:
        return False


def _notice(act: FileIntent, outcome: str) -> Notice:
    where = shown(act.path) if act.path else "a pipe"
    if outcome == OPEN:
        return Notice(INTERRUPTED, f"an interrupted {act.act} of {where} cannot be settled yet")
    words = f"an interrupted {act.act} of {where} did not finish"
    if act.act == "rewrap" and act.path:
        return Notice(INTERRUPTED, words, remedy="finish-rewrap", about={"path": act.path})
    return Notice(INTERRUPTED, words)
