"""The act `export-public`: gives out the public half of a key, to which anybody may then encrypt.

The key is marked: cleanup cannot see what is made with an exported half, so it destroys such a key only when told to.
Does not handle: the file that the half goes out in (models/format/recipient.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiktrue_keys.core.derivation import MANAGED_KEY_HPKE, subkey, x_wing_public_bytes
from tiktrue_keys.core.keys.keyring import find_key, must_get_key, put_key
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use, must_allow
from tiktrue_keys.core.keystore.replay import chosen_operation_id, first_result, remember_result
from tiktrue_keys.core.operations.open_key import open_key
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError

OPERATION = "export-public"


@dataclass(frozen=True, kw_only=True)
class ExportedPublic(OperationResult):
    """The key as it is now, and the 1216 public bytes of its X-Wing half."""

    key: ManagedKey
    public: bytes


def export_public(
    session: KeystoreSession, argument: str, license_key: License | None, operation_id: str | None
) -> ExportedPublic:
    """Mark the active key that `argument` names and give out its public half; recorded before it returns.

    Raises as open_key for encryption: a key that encrypts nothing any more is not given out.
    """
    operation, chosen = chosen_operation_id(operation_id)
    with session.read() as (view, now):
        named = find_key(view.rows, argument, now).key
        first = first_result(view.rows, operation, OPERATION) if chosen else None
    if first is not None and first[0][0] != named.key_id:
        raise RefusedError(
            f"operation {operation} exported key {first[0][0]}", "choose another id", remedy="operation-id-taken"
        )
    with (
        open_key(session, named.key_id, license_key, Use.ENCRYPT) as opened,
        subkey(opened.secret.view, MANAGED_KEY_HPKE) as seed,
    ):
        public = x_wing_public_bytes(seed.view)
    if first is not None:
        return ExportedPublic(operation_id=operation, changed=False, key=opened.key, public=public)
    with session.write(operation) as transaction:
        stored = must_get_key(transaction.rows, opened.key.key_id, transaction.now)
        must_allow(stored.key, Use.ENCRYPT, transaction.now)
        key = replace(stored.key, exported=True)
        put_key(transaction.rows, key, stored.wrapped)
        if chosen:
            remember_result(transaction, OPERATION, [[key.key_id]])
        status = key.status.value
        transaction.record(OPERATION, key_id=key.key_id, model_id=key.model_id, before=status, after=status)
    return ExportedPublic(operation_id=operation, changed=True, key=key, public=public)
