"""Recovers a keystore with the shares of an escrow: a backup on a new machine, or a keystore whose machine has changed.

Come here for `escrow recover`. Licensed keys still need their license. Prompts and the reading of shares are the
caller's job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tiktrue_keys.core.keystore import database
from tiktrue_keys.core.keystore.backup import blamed_on_backup, clear_header
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.open import by_escrow
from tiktrue_keys.core.keystore.slots import must_have_escrow
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.preview_restore import RestorePreview, preview_restore
from tiktrue_keys.core.operations.restore import RestoredKeystore, restore
from tiktrue_keys.core.operations.standing_notices import binding_notices, recovery_notices
from tiktrue_keys.errors import NotFoundError
from tiktrue_keys.recovery.escrow import must_get_escrow, put_escrow
from tiktrue_keys.recovery.shares import Share, combine

RECOVER = "escrow-recover"


def must_be_recoverable(manager: KeyManager, backup: Path | None) -> None:
    """Check for an escrow before shares are fetched.

    Raises NotFoundError without a keystore, backup or escrow, RefusedError when the backup's last transaction was not
    finished, and IntegrityError when it is not a keystore.
    """
    source = _source(manager, backup)
    with blamed_on_backup(source):
        header = clear_header(source)
    must_have_escrow(header)


def preview_recovery(manager: KeyManager, backup: Path | None, shares: Sequence[Share]) -> RestorePreview:
    """Verify the backup completely with the shares, and return it with the keystore that it would replace.

    Nothing is written.
    """
    with combine(shares) as secret:
        return preview_restore(manager.session, _source(manager, backup), by_escrow(secret))


def recover(
    manager: KeyManager,
    backup: Path | None,
    shares: Sequence[Share],
    *,
    accept_clock: bool = False,
    reset_policy: bool = False,
    operation_id: str | None = None,
) -> RestoredKeystore:
    """Put a backup (None: the keystore in place, as it is) in place as a new epoch, bound to this machine.

    A missing host secret of this machine is created. `reset_policy` removes the approval policy, which then wants no
    approval for this either: the holders of the shares decide. The caller has asked for confirmation.

    Raises UsageError and IntegrityError for shares that do not combine, NotFoundError without an escrow in the backup,
    and RefusedError for shares of another escrow or a clock more than 400 days ahead unless `accept_clock`.
    """
    notices: list[Notice] = []
    with combine(shares) as secret:
        done = restore(
            manager.session,
            _source(manager, backup),
            by_escrow(secret),
            event=RECOVER,
            also=lambda transaction: notices.extend(_recovered(transaction, shares[0].escrow, manager.session.facts())),
            accept_clock=accept_clock,
            reset_policy=reset_policy,
            operation_id=operation_id,
        )
    return replace(done, warnings=(*done.warnings, *notices))


def _recovered(transaction: Transaction, number: int, facts: MachineFacts) -> tuple[Notice, ...]:
    """Record that the shares are verified, unless a newer escrow was carried over. Return the standing notices."""
    escrow = must_get_escrow(transaction.rows)
    if escrow.number == number:
        put_escrow(transaction.rows, replace(escrow, verified_at=transaction.now))
    return (*binding_notices(read_binding(transaction.rows), facts), *recovery_notices(transaction.rows))


def _source(manager: KeyManager, backup: Path | None) -> Path:
    if backup is not None:
        return backup
    present = manager.path / database.FILE_NAME
    if not manager.exists():  # this reads it, so that SQLite rolls back a killed writer's transaction
        raise NotFoundError(f"there is no keystore in {present.parent}", "pass a backup", remedy="name-backup")
    return present
