"""The operation `export-public`: exports the public half of a key, to which anyone may then encrypt.

The key is marked as exported: cleanup cannot see containers that were encrypted to an exported half, and destroys such
a key only when told to. models/format/recipient.py is the format of the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tiktrue_keys.core.derivation import MANAGED_KEY_HPKE, subkey, x_wing_public_bytes
from tiktrue_keys.core.keys.keyring import find_key, must_get_key, put_key
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use, must_allow
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.open_key import open_key
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError

OPERATION = "export-public"


@dataclass(frozen=True, kw_only=True)
class ExportedPublic(OperationResult):
    """The key as it is now, and the 1216 bytes of its public X-Wing key."""

    key: ManagedKey
    public: bytes


def export_public(
    session: KeystoreSession,
    argument: str,
    license_key: License | None,
    *,
    destination: Path | None,
    force: bool,
    operation_id: str | None,
) -> ExportedPublic:
    """Mark the active key that `argument` names as exported, record that, and return its public half.

    `destination` is the file that the caller will write. Raises RefusedError when it exists, unless `force`;
    RevokedError, ExpiredError or RefusedError for a key that does not encrypt any more; UsageError or WrongLicenseError
    without its license.
    """
    path = None if destination is None else str(destination.absolute())
    asked = OperationRequest.of(OPERATION, operation_id, {"key": argument, "destination": path, "force": force})
    do = partial(_export, session, argument, license_key, None if force else destination)
    return once(session, asked, do, partial(_repeated, license_key))


def _export(
    session: KeystoreSession, argument: str, license_key: License | None, new: Path | None, operation: Operation
) -> ExportedPublic:
    if new is not None and os.path.lexists(new):
        raise RefusedError(
            f"the output {shown(new)} exists already", "pass force=True, or choose another name", remedy="output-exists"
        )
    with session.read() as (view, now):
        named = find_key(view.rows, argument, now).key
    opened, public = _public_half(session, named.key_id, license_key)
    with operation.write() as transaction:
        stored = must_get_key(transaction.rows, opened.key_id, transaction.now)
        must_allow(stored.key, Use.ENCRYPT, transaction.now)
        key = replace(stored.key, exported=True)
        put_key(transaction.rows, key, stored.wrapped)
        operation.remember(transaction, [[key.key_id]])
        status = key.status.value
        transaction.record(OPERATION, key_id=key.key_id, model_id=key.model_id, before=status, after=status)
    return ExportedPublic(operation_id=operation.id, changed=True, key=key, public=public)


def _repeated(license_key: License | None, first: FirstRun) -> ExportedPublic:
    ((key_id,),) = first.items
    key, public = _public_half(first.session, key_id, license_key)
    return ExportedPublic(operation_id=first.operation_id, changed=False, key=key, public=public)


def _public_half(session: KeystoreSession, key_id: str, license_key: License | None) -> tuple[ManagedKey, bytes]:
    with (
        open_key(session, key_id, license_key, Use.ENCRYPT) as opened,
        subkey(opened.secret.view, MANAGED_KEY_HPKE) as seed,
    ):
        return opened.key, x_wing_public_bytes(seed.view)
