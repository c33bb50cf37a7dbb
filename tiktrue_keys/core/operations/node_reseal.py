"""Seals a keystore that knows no license to the new value of a changed fact: what a node does when it receives.

Come here for the drift of a node. A keystore with licenses is sealed again by a command that writes with one of them;
see core/session.py. A keystore without any has no command that could bring one.
"""

from __future__ import annotations

from tiktrue_keys.core.keys.license_entries import FIRST
from tiktrue_keys.core.keystore.drift_reseal import reseal_is_due, reseal_one, resealed_notice
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import SecurityError, TikTrueKeysError


def reseal_without_license(session: KeystoreSession) -> tuple[Notice, ...]:
    """Seal to one changed fact if that is due and no license was ever enrolled, and return the notice that says so.

    A failure is a notice too: the next run tries again.
    """
    with session.read() as (view, now):
        has_license = view.rows.get(RecordKind.LICENSE, FIRST) is not None
        if has_license or not reseal_is_due(view, session.facts(), now):
            return ()
    if session.is_read_only():
        return ()
    try:
        with session.write(new_operation_id()) as transaction:
            sealed = reseal_one(session.keystore, transaction, session.facts())
    except SecurityError:
        raise
    except TikTrueKeysError as error:
        return (Notice("not-resealed", f"the keystore was not sealed to the changed fact: {error.message}"),)
    return () if sealed is None else (resealed_notice(sealed),)
