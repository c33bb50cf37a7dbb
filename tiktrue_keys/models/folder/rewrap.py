"""Rewraps the containers of an encrypted folder in place."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from os import PathLike

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import each_once
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.file.rewrap import NotRewrapped, RewrapBatch, Rewrapped, not_rewrapped, rewrap_model
from tiktrue_keys.models.folder.job import open_beforehand
from tiktrue_keys.models.folder.manifest_file import trusted_manifest
from tiktrue_keys.models.folder.tree import real_folder
from tiktrue_keys.models.format.manifest import ContainerEntry, Manifest
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import noted
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT


def rewrap_folder(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    license_key: License | None = None,
    to: str | None = None,
    jobs: int | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> RewrapBatch:
    """Rewrap every container of an encrypted folder, and continue after failures. The manifest does not change.

    Processes up to `jobs` files at once (default: one for each processor, at most four).
    """
    license_key = asked_once(license_key)
    folder = real_folder(path)
    with noted(manager, "rewrap", None):
        manifest = trusted_manifest(manager, folder)
    with suppress(TikTrueKeysError):  # the container's own rewrap says what is wrong
        open_beforehand(manager, folder, manifest, license_key, Use.DECRYPT_DEPRECATED)

    def rewrap(entry: ContainerEntry, _: ProgressReport) -> Rewrapped | NotRewrapped:
        place = folder / entry.place
        try:
            if slots_at(str(place)).current.header.file_id != entry.file_id:
                raise IntegrityError(f"{place} is another container than the manifest lists")
            return rewrap_model(manager, place, license_key=license_key, to=to, lock_timeout=lock_timeout)
        except TikTrueKeysError as error:
            record = manager.container(entry.file_id) or _unknown(manager, manifest, entry, str(place))
            return not_rewrapped(manager, record, error)

    tasks = [Task(0, partial(rewrap, entry)) for entry in manifest.containers]
    ended = side_by_side(tasks, jobs=jobs, progress=None)
    done = [each for each in ended if isinstance(each, Rewrapped)]
    failed = [each for each in ended if isinstance(each, NotRewrapped)]
    return RewrapBatch(
        operation_id=new_operation_id(),
        changed=any(rewrapped.changed for rewrapped in done),
        warnings=each_once(notice for rewrapped in done for notice in rewrapped.warnings),
        done=tuple(done),
        failed=tuple(failed),
    )


def _unknown(manager: KeyManager, manifest: Manifest, entry: ContainerEntry, place: str) -> ContainerRecord:
    return ContainerRecord(entry.file_id, place, manifest.model_id, entry.path, frozenset(), manager.now())
