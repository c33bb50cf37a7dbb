"""Creates a keystore on this machine: folder, host secret, slots, header and identity, in one transaction.

Come here for the first `generate`; `open.py` opens the keystore from then on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.fingerprint import Binding, choose_anchors
from tiktrue_keys.core.instants import Instant, instant_of
from tiktrue_keys.core.keystore import database, schema
from tiktrue_keys.core.keystore.bind import host_secret_for, store_binding
from tiktrue_keys.core.keystore.document import (
    KEYSTORE_ID_LENGTH,
    Cost,
    Document,
)
from tiktrue_keys.core.keystore.identity import make_identity, store_identity
from tiktrue_keys.core.keystore.leftovers import begin_creation, end_creation, sweep
from tiktrue_keys.core.keystore.lock import writers_lock
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.permissions import make_private_folder
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.secret_place import HostSecret
from tiktrue_keys.core.keystore.slots import seal_to_machine
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.keystore.volatile import volatile_now
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError


class KeystoreExistsError(RefusedError):
    """Another process created the keystore before this one got the lock."""


@contextlib.contextmanager
def new_keystore(
    place: KeystorePaths,
    facts: MachineFacts,
    clock: Callable[[], float],
    *,
    cost: Cost,
    actor: Actor,
    operation_id: OperationId,
) -> Iterator[tuple[Keystore, Transaction]]:
    """Yield a new keystore and the transaction that creates it. No keystore is left if the block raises.

    Raises KeystoreExistsError when another process has created one meanwhile. Storage that does not last is noted in
    the header and in this package's log; the caller asks before.
    """
    make_private_folder(place.folder)
    with writers_lock(place.folder, timeout=place.timeout, actor=actor):
        if database.is_keystore(place.folder, timeout=place.timeout):
            raise KeystoreExistsError(f"there is a keystore in {place.folder} already", "run it again")
        secret, marks = host_secret_for(place)
        sweep(place.folder, secret.path)
        database.create_file(place.folder / database.FILE_NAME)
        keystore, document, binding, wrapped = _sealed(place, facts, secret, marks, cost=cost, now=instant_of(clock()))
        try:
            begin_creation(place.folder, document)
            with keystore.create(document, clock, actor=actor, operation_id=operation_id) as transaction:
                store_identity(transaction.rows, wrapped)
                store_binding(transaction.rows, binding)
                transaction.record("keystore-create", detail={"facts": [kind.value for kind in binding.kinds]})
                yield keystore, transaction
            end_creation(place.folder)
            _log_volatile(place.folder, document)
        except BaseException:
            keystore.close()
            with contextlib.suppress(OSError):  # the next writer sweeps it; the error that is under way says more
                end_creation(place.folder)
            database.remove_empty(place.folder / database.FILE_NAME)
            raise


def _log_volatile(folder: Path, document: Document) -> None:
    """Log what vanishes: a caller in Python may never look at the notices of its result."""
    found = volatile_now(folder, Path(document.host_secret_path), Path(document.marks_path))
    if not found:
        return
    import logging  # most commands need none of it

    logger = logging.getLogger("tiktrue_keys")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # else the last resort of logging would print on standard error
    logger.warning("%s: %s", shown(folder), found.words)


def _sealed(
    place: KeystorePaths,
    facts: MachineFacts,
    secret: HostSecret,
    marks: Path,
    *,
    cost: Cost,
    now: Instant,
) -> tuple[Keystore, Document, Binding, dict[str, bytes]]:
    keystore_id = os.urandom(KEYSTORE_ID_LENGTH)
    binding = choose_anchors(facts)
    root = SecretBuffer.random(derivation.KEY_LENGTH)
    keys = RootKeys(root, keystore_id)
    publics, wrapped = make_identity(keys)
    document = Document(
        keystore_id=keystore_id,
        created_at=now,
        epoch=1,
        host_secret_id=derivation.host_secret_id(secret.view),
        host_secret_path=str(secret.path),
        marks_path=str(marks),
        costs=(cost,),
        slots=seal_to_machine(root.view, binding, secret.view, keystore_id),
        resealed_at=now,
        version=schema.VERSION,
        volatile=volatile_now(place.folder, secret.path, marks).names,
        audit_key=publics.audit,
        identity_key=publics.identity,
        identity_hpke=publics.identity_hpke,
    )
    path = place.folder / database.FILE_NAME
    connection = database.connect(path, timeout=place.timeout)
    return Keystore(path, connection, keys, secret, timeout=place.timeout), document, binding, wrapped
