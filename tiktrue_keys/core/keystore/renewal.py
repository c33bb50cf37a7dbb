"""Changes a keystore over to a new root secret H: a new file under new keys, in the place of the old one.

Come here for the order in which a rekey writes. The host secret of the new root and its mark are on disk before the new
file takes the name of the keystore in one rename, so that a kill leaves the old keystore or the new one, and either
opens. transfer.py copies the rows; core/operations/rekey.py decides on everything else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.durable import create_bytes
from tiktrue_keys.core.keystore import database, host_secret, schema
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.backup import MAX_EPOCH, put_in_place
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.document import MAX_FORMER, Document
from tiktrue_keys.core.keystore.former import FormerKeys, seal_former
from tiktrue_keys.core.keystore.high_water import first_mark, policy_digest
from tiktrue_keys.core.keystore.leftovers import REKEYING, begin_renewal, end_renewal
from tiktrue_keys.core.keystore.permissions import (
    FILE_MODE,
    make_private_folder,
    must_lie_outside,
    must_not_be_writable_by_others,
)
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.secret_place import HostSecret, free_secret_path
from tiktrue_keys.core.keystore.slots import seal_to_machine
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import ReadClock, Snapshot, Transaction
from tiktrue_keys.core.keystore.transfer import Changes
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import IntegrityError, InternalError, RefusedError

ChangesOf = Callable[[RootKeys, RootKeys], Changes]
"""Returns what a rekey changes in the records, for the old and the new keys."""


@dataclass(frozen=True)
class Renewal:
    """A rekey under way: the keystore and its verified state as it was, and the transaction that fills the new file."""

    before: Keystore
    view: Snapshot
    after: Keystore
    transaction: Transaction


def secret_path_of(keystore: Keystore, document: Document, named: Path | None) -> Path:
    """Return where the new host secret will lie: at `named`, or beside the one in use.

    Raises RefusedError for a file that exists, for a folder that cannot be written, and for a keystore that was rekeyed
    too often.
    """
    if len(document.former) >= MAX_FORMER:
        raise RefusedError(f"this keystore was rekeyed {MAX_FORMER} times", "create a new keystore")
    if named is not None:
        must_lie_outside(named, keystore.folder)
        if os.path.lexists(named):
            raise RefusedError(f"{shown(named)} exists", "name a file that does not exist", remedy="new-secret-exists")
        return named.absolute()
    if keystore.host_secret is None:
        raise InternalError("a session's keystore was not opened by its machine")
    if not isinstance(keystore.host_secret, HostSecret):
        raise RefusedError(f"the keystore was opened by {keystore.host_secret.way}, and its root cannot be renewed so")
    folder = keystore.host_secret.path.parent
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
    new_host_secret: Path | None,
    actor: Actor,
    operation_id: OperationId,
) -> Iterator[Renewal]:
    """Yield the transaction that fills the new keystore, which takes the place of the old one at the end of the block.

    The caller holds the writers' lock. The new file has every record and the audit log, the machine's slots for the new
    H, no escrow, and the next epoch. Raises as secret_path_of; IntegrityError when a record is not intact.
    """
    with contextlib.ExitStack() as stack:
        view = stack.enter_context(keystore.read())
        path = secret_path_of(keystore, view.document, new_host_secret)
        secret = stack.enter_context(_new_secret(keystore, path))
        keys = _next_keys(keystore.keys, view.audit.size)
        document = _next_document(view, keys, secret)
        after = stack.enter_context(_new_file(keystore, keys, secret))

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
        after.write_mark_of_epoch()


def _next_keys(keys: RootKeys, size: int) -> RootKeys:
    """Return the keys of a new random H, with what has to be kept of the old one."""
    record = derivation.subkey(keys.root.view, derivation.METADATA)
    former = FormerKeys(size, record, SecretBuffer.copy_of(keys.tag.view))
    root = SecretBuffer.random(derivation.KEY_LENGTH)
    return RootKeys(root, keys.keystore_id, (*(each.copy() for each in keys.former), former))


def _next_document(view: Snapshot, keys: RootKeys, secret: HostSecret) -> Document:
    before = view.document
    if before.epoch + 1 >= MAX_EPOCH:
        raise IntegrityError("the keystore has had too many epochs")
    return replace(
        before,
        epoch=before.epoch + 1,
        host_secret_id=derivation.host_secret_id(secret.view),
        host_secret_path=str(secret.path),
        slots=seal_to_machine(keys.root.view, read_binding(view.rows), secret.view, before.keystore_id),
        former=seal_former(keys.former, keys.root.view, before.keystore_id),
    )


@contextlib.contextmanager
def _new_secret(keystore: Keystore, path: Path) -> Iterator[HostSecret]:
    """Yield a new host secret, on disk. It is removed again if the keystore did not change over to it."""
    begin_renewal(keystore.folder, path)
    try:
        if not path.parent.exists():
            make_private_folder(path.parent)
        must_not_be_writable_by_others(path.parent)
        with SecretBuffer.random(host_secret.LENGTH) as secret:
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
def _new_file(keystore: Keystore, keys: RootKeys, secret: HostSecret) -> Iterator[Keystore]:
    """Yield an empty keystore file. It is removed again if it has not taken the place of the old one."""
    path = keystore.folder / REKEYING
    path.unlink(missing_ok=True)  # left by a killed rekey; the caller holds the lock
    database.create_file(path)
    try:
        connection = database.connect(path, timeout=0)
        after = Keystore(path, connection, keys, secret, timeout=0, marks=keystore.marks.given)
        try:
            yield after
        finally:
            after.close()
    finally:
        for leftover in (path, path.with_name(path.name + "-journal")):
            leftover.unlink(missing_ok=True)
