"""Changes a keystore over to a new root secret H: a new file under new keys, in the place of the old one.

Come here for the order in which a rekey writes. The host secret of the new root and its mark are on disk before the new
file takes the name of the keystore in one rename, so that a kill leaves the old keystore or the new one, and either
opens. transfer.py copies the rows; core/operations/rekey.py decides on everything else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.durable import create_bytes
from tiktrue_keys.core.fingerprint import Binding
from tiktrue_keys.core.keystore import database, host_secret, schema
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.backup import MAX_EPOCH, put_in_place
from tiktrue_keys.core.keystore.bind import read_binding, read_replacing, slots_for
from tiktrue_keys.core.keystore.device_sealing import newly_sealed
from tiktrue_keys.core.keystore.device_secrets import DeviceSecrets
from tiktrue_keys.core.keystore.document import MAX_FORMER, Document
from tiktrue_keys.core.keystore.former import FormerKeys, seal_former
from tiktrue_keys.core.keystore.former_ways import named_way
from tiktrue_keys.core.keystore.high_water import UNKNOWN, first_mark, policy_digest
from tiktrue_keys.core.keystore.leftovers import REKEYING, begin_renewal, end_renewal
from tiktrue_keys.core.keystore.machine_secrets import MachineSecret
from tiktrue_keys.core.keystore.permissions import (
    FILE_MODE,
    make_private_folder,
    must_lie_outside,
    must_not_be_writable_by_others,
)
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.secret_place import HostSecret, free_secret_path
from tiktrue_keys.core.keystore.slots import MACHINE, takes_facts, ways_of
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import ReadClock, Snapshot, Transaction
from tiktrue_keys.core.keystore.transfer import Changes
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, InternalError, NotFoundError, RefusedError, UsageError

ChangesOf = Callable[[RootKeys, RootKeys], Changes]
"""Returns what a rekey changes in the records, for the old and the new keys."""


@dataclass(frozen=True)
class Renewal:
    """A rekey under way: the keystore and its verified state as it was, and the transaction that fills the new file."""

    before: Keystore
    view: Snapshot
    after: Keystore
    transaction: Transaction


@dataclass(frozen=True)
class NewSecrets:
    """What the new root is sealed to: a new secret for each way of the keystore but `removed`.

    `named` is where the new host secret goes; without it it lies beside the one in use.
    """

    devices: DeviceSecrets
    named: Path | None = None
    removed: str = ""

    def ways(self, document: Document) -> tuple[str, ...]:
        """Return the ways that stay.

        Raises NotFoundError when the removed one is not there, RefusedError when it is the last one.
        """
        ways = ways_of(document)
        if self.removed and self.removed not in ways:
            raise NotFoundError(f"the keystore is not bound to {named_way(self.removed)}", remedy="list-bindings")
        kept = tuple(way for way in ways if way != self.removed)
        if not kept:
            words = f"{named_way(self.removed)} is all that opens the keystore"
            raise RefusedError(words, "add another way first", remedy="add-binding")
        return kept


def secret_path_of(keystore: Keystore, document: Document, secrets: NewSecrets) -> Path | None:
    """Return where the new host secret will lie: where it was named, or beside the one in use. None for devices alone.

    Raises RefusedError for a file that exists, for a folder that cannot be written, and for a keystore that was rekeyed
    too often; as NewSecrets.ways; UsageError for a named file where there is no host secret.
    """
    if len(document.former) >= MAX_FORMER:
        raise RefusedError(f"this keystore was rekeyed {MAX_FORMER} times", "create a new keystore")
    named = secrets.named
    if MACHINE not in secrets.ways(document):
        if named is not None:
            raise UsageError("no host secret opens this keystore", "leave its file out", remedy="list-bindings")
        return None
    if named is not None:
        must_lie_outside(named, keystore.folder)
        if os.path.lexists(named):
            raise RefusedError(f"{shown(named)} exists", "name a file that does not exist", remedy="new-secret-exists")
        return named.absolute()
    if keystore.host_secret is None:
        raise InternalError("a session's keystore was not opened by its machine")
    in_use = keystore.host_secret
    folder = (in_use.path if isinstance(in_use, HostSecret) else Path(document.host_secret_path)).parent
    if not os.access(folder, os.W_OK):
        raise RefusedError(
            f"{shown(folder)} cannot be written: it is the folder of the host secret, and the new one goes there too",
            "pass new_host_secret: a file elsewhere on this machine",
            remedy="name-new-host-secret",
        )
    return free_secret_path(folder, document.keystore_id)


@contextlib.contextmanager
def renewing(
    keystore: Keystore,
    read_clock: ReadClock,
    *,
    changes: ChangesOf,
    secrets: NewSecrets,
    actor: Actor,
    operation_id: OperationId,
) -> Iterator[Renewal]:
    """Yield the transaction that fills the new keystore, which takes the place of the old one at the end of the block.

    The caller holds the writers' lock. The new file has every record and the audit log, the machine's slots for the new
    H, no escrow, and the next epoch. Raises as secret_path_of; IntegrityError when a record is not intact.
    """
    with contextlib.ExitStack() as stack:
        view = stack.enter_context(keystore.read())
        path = secret_path_of(keystore, view.document, secrets)
        file = stack.enter_context(_new_file(keystore))  # before the note of the new host secret: see leftovers.py
        new = [
            stack.enter_context(_new_secret_of(way, keystore, path, secrets.devices))
            for way in secrets.ways(view.document)
        ]
        keys = _next_keys(keystore.keys, view.audit.size)
        document = _next_document(view, keys, new)
        connection = database.connect(file, timeout=0)
        after = Keystore(file, connection, keys, new[0], timeout=0, marks=keystore.marks.given)
        stack.callback(after.close)

        def copy(target: sqlite3.Connection) -> Snapshot:
            schema.create_tables(target)
            digests = keystore.transfer_to(view, target, keys, changes(keystore.keys, keys))
            audit = AuditLog(target, keys, size=view.audit.size, epoch=document.epoch)
            return Snapshot(document, view.state, Rows(target, keys, digests), audit, view.heartbeat)

        with after.fill(copy, read_clock, actor=actor, operation_id=operation_id) as transaction:
            yield Renewal(keystore, view, after, transaction)
        first = replace(first_mark(document.epoch), heartbeat=view.heartbeat, policy=policy_digest(view.rows))
        after.marks.write(document, first, pending=True)
        put_in_place(after.path, keystore.path, None)
        left = replace(first, policy=UNKNOWN if first.policy else "")
        keystore.marks.end_root((view.document, document), left)
        after.write_mark_of_epoch()


def _next_keys(keys: RootKeys, size: int) -> RootKeys:
    """Return the keys of a new random H, with what has to be kept of the old one."""
    record = derivation.subkey(keys.root.view, derivation.METADATA)
    former = FormerKeys(size, record, SecretBuffer.copy_of(keys.tag.view))
    root = SecretBuffer.random(derivation.KEY_LENGTH)
    return RootKeys(root, keys.keystore_id, (*(each.copy() for each in keys.former), former))


def _new_secret_of(
    way: str, keystore: Keystore, path: Path | None, devices: DeviceSecrets
) -> AbstractContextManager[MachineSecret]:
    if way == MACHINE and path is not None:
        return _new_secret(keystore, path)
    return newly_sealed(devices, way, is_held=lambda blob: keystore.is_replaced())


def _next_document(view: Snapshot, keys: RootKeys, secrets: Sequence[MachineSecret]) -> Document:
    before = view.document
    if before.epoch + 1 >= MAX_EPOCH:
        raise IntegrityError("the keystore has had too many epochs")
    binding, awaited = read_binding(view.rows), read_replacing(view.rows)
    with_facts = [secret for secret in secrets if takes_facts(before, secret.way)]
    without = [secret for secret in secrets if secret not in with_facts]
    slots = (*slots_for(keys, binding, with_facts, awaited), *slots_for(keys, Binding(()), without))
    ways = [secret.way for secret in secrets]
    for host in (secret for secret in secrets if isinstance(secret, HostSecret)):
        before = replace(before, host_secret_id=derivation.host_secret_id(host.view), host_secret_path=str(host.path))
    return replace(
        before,
        epoch=before.epoch + 1,
        slots=tuple(sorted(slots, key=lambda slot: ways.index(slot.type))),
        former=seal_former(keys.former, keys.root.view, before.keystore_id),
    )


@contextlib.contextmanager
def _new_secret(keystore: Keystore, path: Path) -> Iterator[HostSecret]:
    """Yield a new host secret, on disk. It is removed again if the keystore did not change over to it."""
    try:
        if not path.parent.exists():
            make_private_folder(path.parent)
        must_not_be_writable_by_others(path.parent)
        with SecretBuffer.random(host_secret.LENGTH) as secret:
            begin_renewal(keystore.folder, path, derivation.host_secret_id(secret.view), keystore.keys.root.view)
            create_bytes(path, bytes(secret.view), FILE_MODE, gate=None)
        try:
            yield HostSecret(host_secret.read(path), path)
        except BaseException:
            if not keystore.is_replaced():
                path.unlink(missing_ok=True)
            raise
    finally:
        with contextlib.suppress(OSError):  # the next writer removes it
            end_renewal(keystore.folder)


@contextlib.contextmanager
def _new_file(keystore: Keystore) -> Iterator[Path]:
    """Yield an empty keystore file. It is removed again if it has not taken the place of the old one."""
    path = keystore.folder / REKEYING
    path.unlink(missing_ok=True)  # left by a killed rekey; the caller holds the lock
    database.create_file(path)
    try:
        yield path
    finally:
        for leftover in (path, path.with_name(path.name + "-journal")):
            leftover.unlink(missing_ok=True)
