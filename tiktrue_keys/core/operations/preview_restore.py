"""Previews a restore: reads the backup and the keystore that it would replace, and writes nothing.

Come here for what the user sees before confirming.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.containers.registry import ContainerRecord, all_containers
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import all_keys, verify_keys
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.backup import blamed_on_backup, opened_backup
from tiktrue_keys.core.keystore.high_water import Mark
from tiktrue_keys.core.keystore.open import WayIn
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.names import KeyId
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import TikTrueKeysError


@dataclass(frozen=True)
class Position:
    """How far a keystore has come: its id (16 bytes), its epoch, its number of audit records, and the newest record."""

    keystore_id: bytes
    epoch: int
    audit_size: int
    newest: AuditRecord | None


@dataclass(frozen=True)
class Lost:
    """What a restore takes away: keys that the backup lacks, rotations to them, and containers that only they open."""

    keys: tuple[ManagedKey, ...] = ()
    rotations: tuple[tuple[KeyId, KeyId], ...] = ()
    containers: tuple[ContainerRecord, ...] = ()


@dataclass(frozen=True)
class RestorePreview:
    """The backup, and the keystore that it would replace.

    `present` is None when there is no keystore or it does not open; `present_error` says why not. `known` is this
    machine's high-water mark of the backup's keystore. `lost` is None where the present keystore cannot tell.
    """

    backup: Position
    present: Position | None
    present_error: TikTrueKeysError | None
    known: Mark | None = None
    lost: Lost | None = None

    @property
    def same_keystore(self) -> bool | None:
        """Return whether the backup is of the present keystore; None when that is not known."""
        return None if self.present is None else self.present.keystore_id == self.backup.keystore_id


def preview_restore(session: KeystoreSession, source: Path, way_in: WayIn | None = None) -> RestorePreview:
    """Verify the backup completely, opened by this machine unless `way_in` is given, and read the present keystore.

    Errors of the present keystore are in the result. Raises NotFoundError or IntegrityError for the backup, and the
    errors of `way_in`.
    """
    with (
        blamed_on_backup(source),
        opened_backup(source, way_in or session.way_in()) as copy,
    ):
        copy.verify_whole()
        known = copy.mark_or_none()
        with copy.read() as view:
            verify_keys(view.rows, Instant(0))
            backup = _position(view)
            held = {stored.key.key_id for stored in all_keys(view.rows, Instant(0))}
    try:
        if not session.exists():
            return RestorePreview(backup, None, None, known)
        with session.read() as (view, now):
            present = _position(view)
            is_same = present.keystore_id == backup.keystore_id
            return RestorePreview(backup, present, None, known, _lost(view, now, held) if is_same else None)
    except TikTrueKeysError as error:
        return RestorePreview(backup, None, error, known)


def _lost(view: Snapshot, now: Instant, held: Collection[str]) -> Lost:
    keys = [stored.key for stored in all_keys(view.rows, now) if stored.key.key_id not in held]
    keys = [key for key in keys if key.destroyed_at is None]
    containers = [record for record in all_containers(view.rows) if record.keys and not record.keys & frozenset(held)]
    rotations = [(key.predecessor, key.key_id) for key in keys if key.predecessor is not None]
    return Lost(tuple(sorted(keys, key=lambda key: key.order)), tuple(rotations), tuple(containers))


def _position(view: Snapshot) -> Position:
    newest = view.audit.get(view.audit.size - 1) if view.audit.size else None
    return Position(view.document.keystore_id, view.document.epoch, view.audit.size, newest)
