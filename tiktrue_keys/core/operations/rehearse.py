"""The operation `restore --rehearsal`: a backup in a folder of its own, to prove that it restores.

Come here for a restore that replaces nothing. keystore/rehearsal.py says what the copy may do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiktrue_keys.core.file_identity import listed
from tiktrue_keys.core.keys.keyring import verify_keys
from tiktrue_keys.core.keystore.backup import blamed_on_backup, clear_header, restoring
from tiktrue_keys.core.keystore.lock import FILE_NAME as LOCK
from tiktrue_keys.core.keystore.open import by_machine
from tiktrue_keys.core.keystore.schema import FIRST_VERSION
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.restore import RESTORE, RestoredKeystore
from tiktrue_keys.core.operations.restored_policy import carry_policy
from tiktrue_keys.core.outputs import KEYSTORES_ONLY
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError


def rehearse(session: KeystoreSession, source: Path, folder: Path, *, accept_clock: bool) -> RestoredKeystore:
    """Restore a backup into `folder`, a new or empty one, as a rehearsal.

    It is opened by this machine, with the host secret of the session or the recorded one, and shares no mark with the
    keystore. Raises RefusedError for a folder that is in use, for a backup of schema 1, which cannot say that it is a
    rehearsal, and where the keystore is known under an approval policy that the backup does not have.
    """
    KEYSTORES_ONLY.check(folder)
    if set(listed(folder)) - {LOCK}:
        raise RefusedError(f"{shown(folder)} is not empty", "name a new folder")
    if clear_header(source).version == FIRST_VERSION:
        raise RefusedError(
            f"{shown(source)} is of schema 1, which knows no rehearsal", "rehearse it with a newer backup"
        )
    place = replace(session.place, folder=folder, marks=None)
    operation_id = new_operation_id()
    with restoring(
        place,
        source,
        by_machine(place, session.facts(), session.devices),
        session.facts(),
        session.clock,
        session.read_clock,
        event=RESTORE,
        actor=session.actor,
        operation_id=operation_id,
        accept_clock=accept_clock,
        rehearsal=True,
    ) as (transaction, restored):
        with blamed_on_backup(source):
            verify_keys(transaction.rows, transaction.now)
        carry_policy(transaction, None, restored.policy, reset=False)
    notice = Notice(
        "rehearsal", f"{shown(folder)} holds a rehearsal", remedy="end-rehearsal", about={"folder": str(folder)}
    )
    return RestoredKeystore(operation_id=operation_id, changed=True, restored=restored, warnings=(notice,))
