"""What follows a rotation: its containers move to the new keys, and the keystore is backed up.

Come here for the containers that `rotate` could not reach, the backup of `rotate --due`, and the exit code of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tiktrue_keys.cli.context.configured_limits import limits_of
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import partial_error
from tiktrue_keys.cli.view.hints import own_hint
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.results import RotateResult
from tiktrue_keys.errors import PartialError, TikTrueKeysError

if TYPE_CHECKING:
    from tiktrue_keys.core.operations.backup import BackedUp
    from tiktrue_keys.models.file.rewrap import NotRewrapped, RewrapBatch

_NAMED = 8
"""Containers that are named one by one; the rest are counted."""


def move_containers(
    context: CommandContext, rotated: RotateResult, license_key: Callable[[], bytes], *, due: bool
) -> RewrapBatch | None:
    """Move the containers of the rotated keys to the new ones, and with `due` those that earlier runs left behind.

    Returns None when there are none.
    """
    if rotated.dry_run:
        return None
    records = {(each.file_id, each.path): each for each in rotated.containers if each.archived_at is None}
    if due:
        records |= {(each.file_id, each.path): each for each in context.manager.lagging_containers()}
    if not records:
        return None
    from tiktrue_keys.models.file.rewrap import rewrap_records

    wanted = sorted(records.values(), key=lambda record: (record.path, record.file_id))
    return rewrap_records(context.manager, wanted, license_key=license_key, lock_timeout=context.lock_timeout)


def left_behind(rewraps: RewrapBatch | None) -> list[Notice]:
    """Return what is to be said of the containers that were not moved, also with --quiet."""
    if rewraps is None:
        return []
    notices = [notice for rewrapped in rewraps.done for notice in rewrapped.warnings]
    left = (*rewraps.failed, *rewraps.stale)
    notices += [_of_container(each) for each in left[:_NAMED]]
    if len(left) > _NAMED:
        words = f"{plural(len(left) - _NAMED, 'more container')} not rewrapped"
        notices.append(Notice("stale-containers", words, remedy="list-containers", urgent=True))
    return notices


def _of_container(left: NotRewrapped) -> Notice:
    record = left.record
    until = "" if left.opens_until is None else f"; it stops opening at {rfc3339(left.opens_until)}"
    words = f"{record.path or f'container {record.file_id.hex()}'} was not rewrapped: {left.error.message}{until}"
    return Notice("stale-containers", words, urgent=bool(record.path))


def take_due_backup(
    context: CommandContext, folder: str, *, changed: bool
) -> tuple[BackedUp | None, TikTrueKeysError | None]:
    """Back up after a run that changed something, and when the backups are not as they should be.

    Returns the backup, or the error that it failed with: a rotation that was done is told whatever the backup does.
    """
    from tiktrue_keys.core.operations.backup_folder import wants_backup

    manager = context.manager
    try:
        if not changed and not wants_backup(manager.status(limits=limits_of(context))):
            return None, None
        return manager.backup_to(folder), None
    except TikTrueKeysError as error:
        return None, error


def error_after(
    rotated: RotateResult, rewraps: RewrapBatch | None, backup_error: TikTrueKeysError | None
) -> PartialError | None:
    """Return the error of keys that failed, containers that lag and a backup that failed; None when all was done."""
    parts = list(_parts(rotated, rewraps, backup_error))
    if not parts:
        return None
    return PartialError("; ".join(message for message, _ in parts), next((hint for _, hint in parts if hint), ""))


def _parts(
    rotated: RotateResult, rewraps: RewrapBatch | None, backup_error: TikTrueKeysError | None
) -> Iterator[tuple[str, str]]:
    keys = partial_error(rotated.failures, len(rotated.rotations) + len(rotated.failures))
    if keys is not None:
        yield keys.message, keys.hint
    failed: Sequence[NotRewrapped] = rewraps.failed if rewraps is not None else ()
    if failed:
        words = f"{plural(len(failed), 'container')} not rewrapped, first {failed[0].record.path}"
        yield words, own_hint(failed[0].error) or "run tiktrue-keys status to see until when each one opens"
    if backup_error is not None:
        yield f"the backup failed: {backup_error.message}", own_hint(backup_error)
