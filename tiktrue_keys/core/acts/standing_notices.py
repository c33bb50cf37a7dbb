"""What is to be said of a keystore whenever it is looked at, as long as it is so. Pure but for the rows it reads."""

from __future__ import annotations

from tiktrue_keys.core.fingerprint import Binding
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.notices import Notice


def recovery_notices(rows: Rows) -> tuple[Notice, ...]:
    """What to say until an escrow was verified and a backup taken."""
    backup = rows.get(RecordKind.BACKUP, "backup")
    missing = ["no escrow was verified"] if rows.get(RecordKind.ESCROW, "verified") is None else []
    missing += ["no backup was taken"] if backup is None or not backup["done"] else []
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
