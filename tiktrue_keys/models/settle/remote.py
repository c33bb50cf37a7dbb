"""How an interrupted act on an object in storage ended: looks at the object, never longer than a moment.

A storage that does not answer in time is as good as none: the act stays open, and the command that wanted to settle it
goes on. Does not handle: acts whose output is a file of this machine (settle/local.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from tiktrue_keys.core.containers.intents import FileIntent, Settlement
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.folder import encrypt
from tiktrue_keys.models.folder.manifest_file import read_manifest
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.deadline import PATIENCE, within_seconds
from tiktrue_keys.models.storage.location import Url, is_url, parse_place
from tiktrue_keys.models.storage.output_identity import is_another_object, object_identity

OK, FAILED = "ok", "failed"

Ending = tuple[str, frozenset[str] | None, Mapping[str, str], Settlement]
"""How it ended, which keys open the container now (None: there is none), what to record, what became of others."""

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified")


def is_remote(act: FileIntent) -> bool:
    """Whether what the act makes or changes is an object in storage."""
    return is_url(act.temporary or act.path)


def remote_ending(manager: KeyManager, act: FileIntent, *, patience: float = PATIENCE) -> Ending:
    """How the act ended; UnavailableError when its storage does not say within `patience` seconds."""
    look = {
        "decrypt": _decrypted,
        "rewrap": _rewrapped,
        "sign": _signed,
        encrypt.OPERATION: _folder,
    }.get(act.act, _encrypted)
    return look(manager, act, patience)


def _encrypted(manager: KeyManager, act: FileIntent, patience: float) -> Ending:
    slots = within_seconds(patience, lambda: _looked_at(act))
    if slots is None or slots.current.header.file_id != act.file_id:
        if not any(other.path == act.path and other != act for other in manager.open_intents()):
            with suppress(TikTrueKeysError):
                within_seconds(patience, lambda: _discard(act))
        return FAILED, None, {}, Settlement()
    gone = [r.file_id for r in manager.containers() if r.path == act.path and r.file_id != act.file_id]
    return OK, frozenset(held_keys(manager, slots.current.header)), {}, Settlement(gone=gone)


def _rewrapped(manager: KeyManager, act: FileIntent, patience: float) -> Ending:
    """One write is all there is to a rewrap: it came to its end or it did not begin."""
    slots = within_seconds(patience, lambda: _looked_at(act))
    if slots is None or slots.current.header.file_id != act.file_id:
        return FAILED, act.needs, {}, Settlement()
    keys = frozenset(held_keys(manager, slots.current.header))
    return OK if keys == act.keys_after else FAILED, keys, {}, Settlement()


def _folder(_: KeyManager, act: FileIntent, patience: float) -> Ending:
    """With its manifest it is there. Without one the containers that had arrived stay, and so do their rows."""

    def look() -> bool:
        try:
            return read_manifest(parse_place(act.path)).manifest.folder_id == act.file_id
        except (NotFoundError, IntegrityError):
            return False

    return OK if within_seconds(patience, look) else FAILED, None, {}, Settlement()


def _signed(manager: KeyManager, act: FileIntent, patience: float) -> Ending:
    def look() -> bool | None:
        try:
            with opened_container(parse_place(act.path)) as found:
                signature, file_id = found.container.trailer.signature, found.container.header.file_id
        except (NotFoundError, IntegrityError):
            return False
        return file_id == act.file_id and signature is not None and signature.issuer == manager.issuer

    return OK if within_seconds(patience, look) else FAILED, act.needs, {}, Settlement()


def _decrypted(manager: KeyManager, act: FileIntent, patience: float) -> Ending:
    """The container is what it was; the plaintext is there when its name is new."""
    known = manager.container(act.file_id)
    done = within_seconds(patience, lambda: _plaintext_is_there(act))
    return OK if done else FAILED, known.keys if known is not None else act.needs, {}, Settlement()


def _looked_at(act: FileIntent) -> HeaderSlots | None:
    """The header at an act's URL, once its temporary object is removed; None when no container is there."""
    from tiktrue_keys.models.storage.object_requests import remove_object

    if act.temporary is not None:
        temporary = parse_place(act.temporary)
        assert isinstance(temporary, Url)
        remove_object(temporary, "the temporary object")
    try:
        return slots_at(act.path)
    except (NotFoundError, IntegrityError):
        return None


def _discard(act: FileIntent) -> None:
    from tiktrue_keys.models.storage.object_requests import discard_uploads

    url = parse_place(act.path)
    assert isinstance(url, Url)
    discard_uploads(url, act.at)


def _plaintext_is_there(act: FileIntent) -> bool:
    from tiktrue_keys.models.storage.object_requests import look_up, remove_object

    url = parse_place(act.temporary or "")
    assert isinstance(url, Url)
    temporary = _TEMPORARY.fullmatch(url.name)
    if temporary is not None:
        if look_up(url, "the temporary object") is not None:
            remove_object(url, "the temporary object")
            return False
        url = url.with_name(temporary[1])
    found = look_up(url, "the output")
    if act.before is not None:
        return is_another_object(act.before, object_identity(found))
    return found is not None and (not act.replaces or _modified(found) > act.at)


def _modified(found: Mapping[str, Any]) -> int:
    """The second of the object's last change in Unix time, 0 when the storage does not say.

    For intents of earlier versions, which count whole seconds and do not say what was there before: a change within
    the second of the intent may have come first.
    """
    for name in _MODIFIED:
        value = found.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp())
        if isinstance(value, (int, float)):
            return int(value)
    return 0
