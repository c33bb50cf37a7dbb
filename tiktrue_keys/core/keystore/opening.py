"""Makes a keystore on this machine, and opens one: folder, host secret, facts, slots, header, in that order."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.fingerprint import Binding, choose_anchors
from tiktrue_keys.core.instants import Instant, instant_of
from tiktrue_keys.core.keystore import database, host_secret
from tiktrue_keys.core.keystore.document import (
    KEYSTORE_ID_LENGTH,
    Cost,
    Document,
    authenticated,
    parse_document,
    read_document,
)
from tiktrue_keys.core.keystore.identity import PublicHalves, make_identity, store_identity
from tiktrue_keys.core.keystore.leftovers import begin_creation, end_creation, sweep
from tiktrue_keys.core.keystore.lock import writers_lock
from tiktrue_keys.core.keystore.permissions import make_private_folder
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import has_escrow, open_on_machine, open_with_escrow, seal_to_machine
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError, UsageError, WrongMachineError

BINDING = "binding"


class KeystoreExistsError(RefusedError):
    """Another process made the keystore between the look and the lock."""


@dataclass(frozen=True)
class Place:
    """Where a keystore and its host secret are. `host_secret` None: where the keystore says, or the default."""

    folder: Path
    host_secret: Path | None = None
    timeout: float = 10.0


WayIn = Callable[[Document], tuple[SecretBuffer, SecretBuffer | None]]
"""Gives H of a header that nobody vouches for yet, and the host secret where it took part."""


def by_machine(place: Place, facts: MachineFacts) -> WayIn:
    """In by this machine's facts and host secret; WrongMachineError."""

    def way_in(document: Document) -> tuple[SecretBuffer, SecretBuffer]:
        secret_path = place.host_secret or Path(document.host_secret_path)
        host_secret.must_lie_outside(secret_path, place.folder)
        try:
            secret = host_secret.read_expected(secret_path, document.host_secret_id, stored=document.host_secret_path)
            return open_on_machine(document, facts, secret.view), secret
        except WrongMachineError as error:
            if not has_escrow(document):
                raise
            raise WrongMachineError(
                error.message, f"{error.hint}; or with its escrow's shares: escrow recover"
            ) from error

    return way_in


def by_escrow(secret: SecretBuffer) -> WayIn:
    """In by what an escrow's shares gave, on any machine; NotFoundError, RefusedError."""
    return lambda document: (open_with_escrow(document, secret.view), None)


def open_keystore(place: Place, facts: MachineFacts) -> Keystore:
    """Open the keystore; NotFoundError, InsecureError, IntegrityError, WrongMachineError."""
    return open_at(place.folder / database.FILE_NAME, by_machine(place, facts), timeout=place.timeout)


def open_at(path: Path, way_in: WayIn, *, timeout: float) -> Keystore:
    """The same for the file at `path`, which a restore puts in place afterwards."""
    connection = database.open_existing(path, timeout=timeout)
    try:
        return opened(connection, path, way_in, timeout=timeout)
    except BaseException:
        connection.close()
        raise


def opened(connection: sqlite3.Connection, path: Path, way_in: WayIn, *, timeout: float) -> Keystore:
    """The keystore in a database that is open; the caller closes the connection when this raises."""
    with database.sqlite_errors(path):
        stored = read_document(connection)
    document = parse_document(stored[0])
    root, secret = way_in(document)
    authenticated(stored, root.view)
    return Keystore(path, connection, RootKeys(root, document.keystore_id), secret, timeout=timeout)


def settle_on_machine(keystore: Keystore, transaction: Transaction, place: Place, facts: MachineFacts) -> Binding:
    """Bind a keystore that came by another way to this machine: its host secret, made where there is none, new slots.

    RefusedError where the host secret would not last.
    """
    secret, secret_path, marks = _host_secret_of(_known_place(place, transaction.document))
    keystore.host_secret = secret
    binding = choose_anchors(facts)
    slots = seal_to_machine(keystore.keys.root.view, binding, secret.view, keystore.keys.keystore_id)
    moved = replace(
        transaction.document.with_slots(slots),
        host_secret_id=derivation.host_secret_id(secret.view),
        host_secret_path=str(secret_path),
        marks_path=str(marks),
        resealed_at=transaction.now,
    )
    transaction.replace_document(moved)
    store_binding(transaction.rows, binding)
    return binding


@contextlib.contextmanager
def new_keystore(
    place: Place,
    facts: MachineFacts,
    clock: Callable[[], float],
    *,
    cost: Cost,
    actor: Actor,
    operation_id: OperationId,
) -> Iterator[tuple[Keystore, Transaction]]:
    """Make a keystore with what the block writes, in one transaction; nothing is left of it when the block raises.

    RefusedError when somebody else made one in the meantime, or where the host secret would not last.
    """
    make_private_folder(place.folder)
    with writers_lock(place.folder, timeout=place.timeout, actor=actor):
        if database.is_keystore(place.folder, timeout=place.timeout):
            raise KeystoreExistsError(f"there is a keystore in {place.folder} already", "run it again")
        secret, secret_path, marks = _host_secret_of(place)
        sweep(place.folder, secret_path)
        database.create_file(place.folder / database.FILE_NAME)
        keystore, document, binding, wrapped = _sealed(
            place, facts, secret, secret_path, marks, cost=cost, now=instant_of(clock())
        )
        begin_creation(place.folder, document)
        try:
            with keystore.create(document, clock, actor=actor, operation_id=operation_id) as transaction:
                store_identity(transaction.rows, wrapped)
                store_binding(transaction.rows, binding)
                transaction.record("keystore-create", detail={"facts": [kind.value for kind in binding.kinds]})
                yield keystore, transaction
            end_creation(place.folder)
        except BaseException:
            keystore.close()
            end_creation(place.folder)
            database.remove_empty(place.folder / database.FILE_NAME)
            raise


def _known_place(place: Place, document: Document) -> Place:
    """Without another wish the host secret that the keystore had, where it is still here."""
    path = Path(document.host_secret_path)
    with contextlib.suppress(TikTrueKeysError):
        if place.host_secret is None:
            host_secret.read_expected(path, document.host_secret_id, stored=str(path)).wipe()
            return replace(place, host_secret=path)
    return place


def _host_secret_of(place: Place) -> tuple[SecretBuffer, Path, Path]:
    """The host secret for a keystore that is new here, its path, and the folder of the keystore's mark."""
    path = (place.host_secret or host_secret.default_path()).absolute()
    host_secret.must_lie_outside(path, place.folder)
    _must_be_text(path)
    return host_secret.read_or_create(path, named=place.host_secret is not None), path, _marks_folder(path)


def _must_be_text(path: Path) -> None:
    """The header names the path, and the header is JSON."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("the host secret's path is not UTF-8", "choose a folder with another name") from None


def store_binding(rows: Rows, binding: Binding) -> None:
    """Remember which facts the keystore is sealed to, so that drift can be named."""
    rows.put(RecordKind.BINDING, BINDING, {"anchors": binding.to_json()})


def read_binding(rows: Rows) -> Binding:
    """The facts that the keystore is sealed to."""
    payload = rows.get(RecordKind.BINDING, BINDING)
    if payload is None:
        raise IntegrityError("the keystore's binding record is gone", "restore the keystore from a backup")
    return Binding.from_json(payload["anchors"])


def _sealed(
    place: Place,
    facts: MachineFacts,
    secret: SecretBuffer,
    secret_path: Path,
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
        host_secret_path=str(secret_path),
        marks_path=str(marks),
        costs=(cost,),
        slots=seal_to_machine(root.view, binding, secret.view, keystore_id),
        resealed_at=now,
        **_halves(publics),
    )
    path = place.folder / database.FILE_NAME
    connection = database.connect(path, timeout=place.timeout)
    return Keystore(path, connection, keys, secret, timeout=place.timeout), document, binding, wrapped


def _halves(publics: PublicHalves) -> dict[str, bytes]:
    return {
        "audit_key": publics.audit,
        "identity_key": publics.identity,
        "identity_hpke": publics.identity_hpke,
    }


def _marks_folder(secret_path: Path) -> Path:
    """Beside the host secret where that can be written to (a credential's mount cannot), else the default place."""
    folder = secret_path.parent
    if os.access(folder, os.W_OK):
        return folder
    fallback = host_secret.default_path().parent
    make_private_folder(fallback)
    return fallback
