"""Opens a keystore: by this machine's facts and its host secret, or by the shares of an escrow.

Come here for WrongMachineError, or to add a way of opening a keystore.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from tiktrue_keys.core.keystore import database
from tiktrue_keys.core.keystore.device_secrets import DeviceSecrets
from tiktrue_keys.core.keystore.document import (
    Document,
    authenticated,
    parse_document,
    read_document,
)
from tiktrue_keys.core.keystore.former import open_former
from tiktrue_keys.core.keystore.machine_secrets import MachineSecret, open_by_any_way
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.rehearsal import must_be_at_home
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.slots import has_escrow, open_with_escrow
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.volatile import HOST_SECRET
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import TikTrueKeysError, WrongMachineError

WayIn = Callable[[Document], tuple[SecretBuffer, MachineSecret | None]]
"""Returns the root secret H for a header that is not authenticated yet, and the machine's secret if it was used."""


def by_machine(place: KeystorePaths, facts: MachineFacts, devices: DeviceSecrets) -> WayIn:
    """Return the way in by this machine's facts, and by its host secret or the secret that one of `devices` unseals.

    It raises WrongMachineError, and for a device that is not there or not enabled UnavailableError.
    """

    def way_in(document: Document) -> tuple[SecretBuffer, MachineSecret]:
        try:
            return open_by_any_way(place, facts, devices, document)
        except WrongMachineError as error:
            hint = error.hint
            if HOST_SECRET in document.volatile:
                hint += "; it lay on storage that did not outlive its container or a restart"
            if not has_escrow(document):
                raise WrongMachineError(error.message, hint, remedy=error.remedy, about=error.about) from error
            raise WrongMachineError(error.message, hint, remedy="recover-with-escrow") from error

    return way_in


def by_escrow(secret: SecretBuffer) -> WayIn:
    """Return the way in by an escrow's secret, which works on any machine.

    It raises NotFoundError when the keystore has no escrow, RefusedError when the secret does not open it.
    """
    return lambda document: (open_with_escrow(document, secret.view), None)


def open_keystore(place: KeystorePaths, way_in: WayIn) -> Keystore:
    """Open the keystore. Raises NotFoundError, InsecureError, IntegrityError, and what `way_in` raises."""
    return open_at(place.folder / database.FILE_NAME, way_in, place)


def open_at(path: Path, way_in: WayIn, place: KeystorePaths) -> Keystore:
    """Open the keystore file at `path`, with the marks of `place`; a restore opens its copy before it is in place."""
    connection = database.open_existing(path, timeout=place.timeout)
    try:
        return opened(connection, path, way_in, timeout=place.timeout, marks=place.marks)
    except BaseException:
        connection.close()
        raise


def opened(
    connection: sqlite3.Connection, path: Path, way_in: WayIn, *, timeout: float, marks: Path | None = None
) -> Keystore:
    """Return the keystore of an open database connection; `marks` is the folder of its mark that is given now.

    The caller closes the connection when this raises. Raises InsecureError for a folder of the host secret or of a mark
    that others can write.
    """
    with database.sqlite_errors(path):
        stored = read_document(connection)
    document = parse_document(stored[0])
    root, secret = way_in(document)
    authenticated(stored, root.view)
    keys = RootKeys(root, document.keystore_id, open_former(document, root.view))
    keystore = Keystore(path, connection, keys, secret, timeout=timeout, marks=marks)
    keystore.is_rehearsal = document.rehearsal
    try:
        must_be_at_home(document, path.parent)
        keystore.marks.must_be_safe(document, path.parent)
    except TikTrueKeysError:
        keystore.keys.wipe()
        if secret is not None:
            secret.wipe()
        raise
    return keystore
