"""Binds a keystore to this machine: the host secret, the slots, and the record of the facts that it is sealed to.

Come here for creating, recovering and rebinding a keystore; `fingerprint` decides which facts count.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.fingerprint import Anchor, Binding, choose_anchors, without_shared
from tiktrue_keys.core.keystore import host_secret
from tiktrue_keys.core.keystore.document import (
    Document,
    Slot,
)
from tiktrue_keys.core.keystore.high_water import first_mark
from tiktrue_keys.core.keystore.machine_secrets import MachineSecret
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.permissions import (
    make_private_folder,
    must_lie_outside,
    must_not_be_writable_by_others,
)
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RESTORE, RecordKind
from tiktrue_keys.core.keystore.secret_place import HostSecret, find_secret
from tiktrue_keys.core.keystore.slots import are_current, escrow_slots, seal_to_machine
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.replacement import settled
from tiktrue_keys.errors import IntegrityError, InternalError, TikTrueKeysError, UsageError

BINDING = "binding"
Detail = Mapping[str, list[str]]
"""What the record of a re-seal names beside the facts."""


def settle_on_machine(
    keystore: Keystore, transaction: Transaction, place: KeystorePaths, facts: MachineFacts
) -> Binding:
    """Bind a keystore that was opened in another way to this machine, and return the binding.

    The keystore gets a host secret, created if there is none, and new machine slots. Those of devices go.
    """
    secret, marks = _secret_on_this_machine(place, transaction.document)
    keystore.use_secret(secret)
    binding = choose_anchors(facts)
    slots = seal_to_machine(keystore.keys.root.view, binding, secret.view, keystore.keys.keystore_id)
    moved = replace(
        transaction.document,
        slots=(*slots, *escrow_slots(transaction.document)),
        host_secret_id=derivation.host_secret_id(secret.view),
        host_secret_path=str(secret.path),
        marks_path=str(marks),
        resealed_at=transaction.now,
    )
    transaction.replace_document(moved)
    store_binding(transaction.rows, binding)
    return binding


def reseal(
    keystore: Keystore,
    transaction: Transaction,
    binding: Binding,
    *,
    paused: bool,
    event: str,
    detail: Detail,
    dropped: Collection[FactKind] = (),
    replacing: Sequence[Anchor] | None = None,
) -> None:
    """Seal the keystore to `binding` and record it. With `paused` the next drifted fact waits its day from now on.

    `dropped` are facts that the operator left out; they stay noted until the keystore is sealed to their kind again.
    `replacing` are facts of awaited parts that open it too, those that are recorded unless given. Raises InternalError
    for a keystore that was not opened by its machine, and what reading another secret raises.
    """
    document = transaction.document
    if replacing is None:
        replacing = read_replacing(transaction.rows)
    awaited = [anchor for anchor in replacing if binding.value_of(anchor.kind) not in (None, anchor.value)]
    slots = slots_for(keystore.keys, binding, secrets_in_use(keystore, document), awaited)
    resealed_at = transaction.now if paused else document.resealed_at
    transaction.replace_document(replace(document.with_slots(slots), resealed_at=resealed_at))
    left_out = {*read_dropped(transaction.rows), *dropped}
    store_binding(transaction.rows, binding, dropped=left_out, replacing=awaited)
    transaction.record(event, detail={"facts": [kind.value for kind in binding.kinds], **detail})


def secrets_in_use(keystore: Keystore, document: Document) -> Sequence[MachineSecret]:
    """Return the secret of each way whose slots have facts. Raises what reading one raises that is not in use."""
    if keystore.host_secret is None:
        raise InternalError("a session's keystore was not opened by its machine")
    return keystore.read_secrets(document, keystore.host_secret)


def may_reseal(keystore: Keystore, document: Document) -> bool:
    """Return whether slots can be sealed again: a way takes facts, and the secret of each such way can be read."""
    try:
        return bool(secrets_in_use(keystore, document))
    except TikTrueKeysError:
        return False


def slots_for(
    keys: RootKeys, binding: Binding, secrets: Iterable[MachineSecret], awaited: Sequence[Anchor] = ()
) -> tuple[Slot, ...]:
    """Return the slots of every way that takes facts, for a binding and the facts of parts that are awaited."""
    root = keys.root.view
    return tuple(
        slot
        for each in secrets
        for slot in seal_to_machine(root, binding, each.view, keys.keystore_id, awaited, way=each.way, blob=each.blob)
    )


def renew_slots(keystore: Keystore, transaction: Transaction, facts: MachineFacts) -> tuple[Notice, ...]:
    """Seal again what an older program sealed in another way, or to a value that many machines have, and what awaited
    a part that is there now. Return what the operator should know of it.

    It needs no license and no pause: it adds no fact that this machine may lack, and leaves the binding as it is where
    the machine would not open it without the shared value.
    """
    if keystore.host_secret is None:
        return ()
    before, replacing = read_binding(transaction.rows), read_replacing(transaction.rows)
    arrived, awaited = settled(before, replacing, facts)
    after = without_shared(arrived, facts)
    if after == before and are_current(transaction.document, before, replacing):
        return ()
    if not may_reseal(keystore, transaction.document):
        return ()
    shared = [anchor.kind.value for anchor in arrived.anchors if anchor not in after.anchors]
    replaced = [anchor.kind.value for anchor in arrived.anchors if anchor not in before.anchors]
    detail = {name: kinds for name, kinds in (("shared", shared), ("replaced", replaced)) if kinds}
    reseal(keystore, transaction, after, paused=False, event="reseal", detail=detail, replacing=awaited)
    words = "is there: the keystore is sealed to it, and no longer to the old one"
    return tuple(Notice("replaced", f"the new {name} {words}") for name in replaced)


@dataclass(frozen=True)
class Moved:
    """The paths of a keystore that are not those of its header: the host secret in use, and the folder of its marks."""

    host_secret: Path | None = None
    marks: Path | None = None

    def __bool__(self) -> bool:
        return self.host_secret is not None or self.marks is not None


NOT_MOVED = Moved()
"""Both are where the header says."""


def moved_paths(keystore: Keystore, document: Document) -> Moved:
    """Return what record_paths would record.

    The marks follow the host secret unless their folder is given or stays where it was, apart from the secret's.
    """
    secret = keystore.host_secret
    if secret is None:
        return NOT_MOVED
    if not isinstance(secret, HostSecret):
        given = keystore.marks.given
        return Moved(None, given if given not in (None, Path(document.marks_path)) else None)
    known, marks = Path(document.host_secret_path), Path(document.marks_path)
    left_behind = marks == known.parent or not marks.is_dir()
    folder = keystore.marks.given or marks
    if keystore.marks.given is None and secret.path != known and left_behind:
        folder = _marks_folder(secret.path)
    return Moved(secret.path if secret.path != known else None, folder if folder != marks else None)


def record_paths(keystore: Keystore, transaction: Transaction) -> Moved:
    """Record the path of the host secret in use and the folder of the marks, and return what has changed.

    The new folder gets a mark before the commit, so that a kill leaves no keystore without one. Raises UsageError for a
    path that is not UTF-8, and the error of a folder that cannot be written.
    """
    document = transaction.document
    moved = moved_paths(keystore, document)
    if moved.host_secret is not None:
        document = replace(document, host_secret_path=_must_be_text(moved.host_secret))
    if moved.marks is not None:
        document = replace(document, marks_path=_must_be_text(moved.marks))
        must_not_be_writable_by_others(moved.marks)
        keystore.marks.prepare(document, keystore.mark_or_none() or first_mark(document.epoch))
    transaction.replace_document(document)
    return moved


def become_rehearsal(keystore: Keystore, transaction: Transaction, folder: Path) -> None:
    """Say in the header that this is a rehearsal in `folder`, and where its host secret is."""
    document = replace(transaction.document, rehearsal=True, marks_path=_must_be_text(Path(os.path.realpath(folder))))
    if isinstance(keystore.host_secret, HostSecret):
        document = replace(document, host_secret_path=_must_be_text(keystore.host_secret.path))
    transaction.replace_document(document)


def _secret_on_this_machine(place: KeystorePaths, document: Document) -> tuple[HostSecret, Path]:
    """Return the host secret that the keystore had if it is still here, else one for a keystore that is new here."""
    with contextlib.suppress(TikTrueKeysError):
        secret = find_secret(place, document)
        _must_be_text(secret.path)
        return secret, _marks_of(place, secret.path)
    return host_secret_for(place, document.keystore_id)


def host_secret_for(place: KeystorePaths, keystore_id: bytes | None = None) -> tuple[HostSecret, Path]:
    """Return the host secret for a keystore that is new here, and the folder of the keystore's mark.

    `keystore_id` is that of a keystore that exists already. Raises InsecureError for a path inside the keystore's
    folder and a folder that others can write, UsageError for a path that is not UTF-8, RefusedError where the secret is
    gone and another keystore needs it.
    """
    path = (place.host_secret or host_secret.default_path()).absolute()
    must_lie_outside(path, place.folder)
    _must_be_text(path)
    named = place.host_secret is not None
    must_not_be_writable_by_others(path.parent)
    secret = host_secret.read_or_create(path, named=named, keystore_id=keystore_id)
    return HostSecret(secret, path), _marks_of(place, path)


def _marks_of(place: KeystorePaths, secret: Path) -> Path:
    """Return the folder of the marks that is given, created if it is missing, else the one for the host secret."""
    if place.marks is None:
        return _marks_folder(secret)
    _must_be_text(place.marks)
    must_lie_outside(place.marks, place.folder, "the folder of marks")
    if not place.marks.exists():
        make_private_folder(place.marks)
    must_not_be_writable_by_others(place.marks)
    return place.marks


def _must_be_text(path: Path) -> str:
    """Return the path. Raises UsageError when it is not UTF-8: the header names it, and the header is JSON."""
    try:
        return str(path).encode("utf-8").decode()
    except UnicodeEncodeError:
        words = "the path of the host secret or of the marks is not UTF-8"
        raise UsageError(words, "choose a folder with another name") from None


def store_binding(
    rows: Rows, binding: Binding, *, dropped: Collection[FactKind] = (), replacing: Sequence[Anchor] = ()
) -> None:
    """Record which facts the keystore is sealed to, so that drift can be named, which the operator dropped, and which
    are awaited in the place of others.
    """
    left_out = sorted(kind.value for kind in dropped if kind not in binding.kinds)
    payload: dict[str, Any] = {"anchors": binding.to_json()}
    payload |= {"device": binding.device} if binding.device else {}
    payload |= {"dropped": left_out} if left_out else {}
    payload |= {"replacing": Binding(tuple(replacing)).to_json()} if replacing else {}
    rows.put(RecordKind.BINDING, BINDING, payload)


def read_replacing(rows: Rows) -> tuple[Anchor, ...]:
    """Return the facts of parts that are awaited, sorted by the name of their kind."""
    payload = rows.get(RecordKind.BINDING, BINDING) or {}
    return Binding.from_json(payload.get("replacing", [])).anchors


def binding_here(rows: Rows, facts: MachineFacts) -> tuple[Binding, tuple[Anchor, ...]]:
    """Return the binding as the next command that writes leaves it on this machine, and the facts still awaited."""
    return settled(read_binding(rows), read_replacing(rows), facts)


def read_dropped(rows: Rows) -> tuple[FactKind, ...]:
    """Return the facts that the operator dropped before a repair, and that no new one has replaced yet."""
    payload = rows.get(RecordKind.BINDING, BINDING) or {}
    return tuple(FactKind(name) for name in payload.get("dropped", ()))


def read_binding(rows: Rows) -> Binding:
    """Return the facts that the keystore is sealed to. Raises IntegrityError when their record is missing."""
    payload = rows.get(RecordKind.BINDING, BINDING)
    if payload is None:
        raise IntegrityError("the keystore's binding record is gone", **RESTORE)
    return Binding.from_json(payload["anchors"], payload.get("device", ""))


def _marks_folder(secret_path: Path) -> Path:
    """Return the folder of the host secret if it can be written to, else that of the default host secret.

    The mount of a credential cannot be written to.
    """
    folder = secret_path.parent
    if os.access(folder, os.W_OK):
        return folder
    fallback = host_secret.default_path().parent
    try:
        make_private_folder(fallback)
    except TikTrueKeysError as error:
        raise type(error)(f"no folder for the marks: {error.message}", "pass marks_dir", remedy="name-marks") from error
    return fallback
