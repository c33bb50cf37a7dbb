"""What is to be said of a keystore whenever it is looked at, as long as it is so. Pure but for the rows it reads."""

from __future__ import annotations

from tiktrue_keys.core.fingerprint import Binding
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.notices import Notice

ESCROW_RECORD = "escrow"
"""The name of the one record of its kind."""


def recovery_notices(rows: Rows) -> tuple[Notice, ...]:
    """What to say until an escrow was verified and a backup taken that holds it."""
    backup, escrow = rows.get(RecordKind.BACKUP, "backup"), rows.get(RecordKind.ESCROW, ESCROW_RECORD)
    missing = ["no escrow was verified"] if escrow is None or escrow["verified_at"] is None else []
    if backup is None or not backup["done"]:
        missing.append("no backup was taken" + (" since the escrow was made" if escrow else ""))
    if not missing:
        return ()
    words = f"{' and '.join(missing)}: a dead disk or mainboard would cost every key"
    return (Notice("no-recovery", words),)


def binding_notices(binding: Binding) -> tuple[Notice, ...]:
    """What to say about a binding that a copied disk image would carry along."""
    if not binding.weak:
        return ()
    words = "no machine-borne fact can be read here: the keys are bound to the disk's machine-id and host secret alone"
    return (Notice("weak-binding", words),)
