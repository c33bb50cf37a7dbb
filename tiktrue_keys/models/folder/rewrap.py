"""Rewraps the containers of an encrypted folder in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.containers.settlement import ROWS_AT_ONCE
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore.subject import Subject
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.notices import each_once
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.file.rewrap import RewrapBatch, sorted_out
from tiktrue_keys.models.file.rewrap_batch import RewrapOptions, WantedRewrap, rewrap_all
from tiktrue_keys.models.folder.job import open_beforehand
from tiktrue_keys.models.folder.manifest_file import trusted_manifest
from tiktrue_keys.models.folder.tree import real_folder
from tiktrue_keys.models.format.manifest import Manifest
from tiktrue_keys.models.pipeline.parallel import allowed_jobs
from tiktrue_keys.models.registry.intent import noted
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.overlap import THREADS


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

    Writes up to `jobs` files at once (default: eight, which mostly wait for the disk).
    """
    license_key = asked_once(license_key)
    folder = real_folder(path)
    with noted(manager, "rewrap", None, Subject(paths=(str(folder),))):
        manifest = trusted_manifest(manager, folder)
    with suppress(TikTrueKeysError):  # the container's own rewrap says what is wrong
        open_beforehand(manager, folder, manifest, license_key, Use.DECRYPT_DEPRECATED)

    threads = THREADS if jobs is None else allowed_jobs(jobs)
    options = RewrapOptions(license_key, to, lock_timeout, threads, _not_listed)
    wanted = [
        WantedRewrap(folder / entry.place, entry.file_id, manifest.listed(entry)) for entry in manifest.containers
    ]
    endings = rewrap_all(manager, wanted, options)
    records = _records(manager, manifest, folder)
    done, failed = sorted_out(manager, zip(records, endings, strict=True))
    return RewrapBatch(
        operation_id=new_operation_id(),
        changed=any(rewrapped.changed for rewrapped in done),
        warnings=each_once(notice for rewrapped in done for notice in rewrapped.warnings),
        done=tuple(done),
        failed=tuple(failed),
    )


def _not_listed(wanted: WantedRewrap) -> IntegrityError:
    return IntegrityError(f"{wanted.place} is another container than the manifest lists")


def _records(manager: KeyManager, manifest: Manifest, folder: Path) -> Iterator[ContainerRecord]:
    """Yield the row of each container, also of one that has none."""
    entries, now = manifest.containers, manager.now()
    for at in range(0, len(entries), ROWS_AT_ONCE):
        some = entries[at : at + ROWS_AT_ONCE]
        known = manager.locations_by_id(entry.file_id for entry in some)
        for entry in some:
            place = str(folder / entry.place)
            unknown = ContainerRecord(entry.file_id, place, manifest.model_id, entry.path, frozenset(), now)
            yield next((record for record in known.get(entry.file_id, ()) if record.path == place), unknown)
