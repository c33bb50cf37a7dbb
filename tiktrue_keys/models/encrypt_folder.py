"""Encrypts a folder, file by file, into `DIR.ttm/` with a signed manifest: there whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.durable import shown
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.decrypt_folder import trusted_manifest
from tiktrue_keys.models.encrypt import Encrypted, encrypted_at
from tiktrue_keys.models.file_acts import ProgressReport, file_act, noted
from tiktrue_keys.models.folder_job import (
    FolderJob,
    copy_into,
    encrypt_into,
    forget_all,
    lies_there,
    planned_folder,
    settle_registry,
)
from tiktrue_keys.models.folder_swap import (
    FolderPlace,
    built_folder,
    remove_aside,
    swap_in,
)
from tiktrue_keys.models.folder_tree import (
    Selection,
)
from tiktrue_keys.models.header import new_file_id
from tiktrue_keys.models.manifest import (
    ContainerEntry,
    Entry,
    PlainEntry,
)

ACT = "encrypt-folder"


@dataclass(frozen=True, kw_only=True)
class EncryptedFolder(ActResult):
    """A new encrypted folder; `folder_id` is 16 bytes, `length` bytes of plaintext, `left_out` by the selection."""

    key: ManagedKey
    folder_id: bytes
    source: Path
    destination: Path
    files: tuple[Encrypted, ...]
    plain: tuple[str, ...]
    left_out: tuple[str, ...]
    length: int


def encrypt_folder(
    manager: KeyManager,
    source: str | PathLike[str],
    destination: str | PathLike[str] | None = None,
    *,
    key: str,
    license_key: License | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    plain: Sequence[str] = (),
    force: bool = False,
    progress: ProgressReport | None = None,
    operation_id: str | None = None,
) -> EncryptedFolder:
    """Encrypt every file of a folder; `destination` None is DIR.ttm beside it.

    Globs are held against a file's relative path and its own name; `plain` files are copied in clear under the
    manifest's hash. RefusedError for links that lead out of the folder and when the destination exists; `force`
    replaces an encrypted folder that holds nothing else. After any failure the destination is as it was.
    """
    done = _done_before(manager, source, operation_id)
    if done is not None:
        return done
    with noted(manager, ACT, operation_id):
        selection = Selection(include, exclude, plain)
        job = planned_folder(manager, source, destination, key, license_key, selection, force=force, progress=progress)
    place, folder_id = FolderPlace.beside(job.target), new_file_id()
    with file_act(manager, job.act(ACT, folder_id, place), operation_id) as outcome:
        files, entries = _build(job, place, folder_id)
        outcome.detail = {"files": len(entries), "length": job.tree.total}
        settle_registry(job, files)
        remove_aside(place)
    return EncryptedFolder(
        operation_id=outcome.operation_id,
        changed=True,
        key=job.key,
        folder_id=folder_id,
        source=job.root,
        destination=job.target,
        files=tuple(replace(made, destination=job.target / place_of(made, place)) for made in files),
        plain=tuple(entry.path for entry in entries if isinstance(entry, PlainEntry)),
        left_out=job.tree.left_out,
        length=sum(entry.length for entry in entries),
    )


def _done_before(manager: KeyManager, source: str | PathLike[str], operation_id: str | None) -> EncryptedFolder | None:
    """What the act of this operation id made, read from the folder; None when it was not done."""
    first = manager.finished_file_act(operation_id, ACT) if operation_id and manager.exists() else None
    if operation_id is None or first is None:
        return None
    folder_id, path = first
    manifest = trusted_manifest(manager, Path(path))
    if manifest.folder_id != folder_id:
        raise RefusedError(f"operation {operation_id} was done already; another folder is at {shown(path)} now")
    files = tuple(encrypted_at(manager, Path(path, entry.place), operation_id) for entry in manifest.containers)
    return EncryptedFolder(
        operation_id=operation_id,
        changed=False,
        key=files[0].key if files else manager.find(manifest.model_id),
        folder_id=folder_id,
        source=Path(source),
        destination=Path(path),
        files=files,
        plain=tuple(entry.path for entry in manifest.plain),
        left_out=(),
        length=sum(entry.length for entry in manifest.files),
    )


def place_of(made: Encrypted, place: FolderPlace) -> Path:
    """Where a container of the folder lies, relative to it."""
    assert made.destination is not None, "a folder's containers are files"
    return made.destination.relative_to(place.temporary)


def _build(job: FolderJob, place: FolderPlace, folder_id: bytes) -> tuple[list[Encrypted], tuple[Entry, ...]]:
    """Fill the temporary folder, manifest last, and give it its name; the registry lets go of it when that fails."""
    files: list[Encrypted] = []
    entries: list[Entry] = []
    done = 0
    try:
        with built_folder(place) as root:
            for file in job.tree.files:
                if file.plain:
                    entries.append(copy_into(file, root))
                else:
                    made = encrypt_into(job, file, root, done)
                    files.append(made)
                    entries.append(ContainerEntry(file.relative, made.length, made.file_id, made.root))
                done += entries[-1].length
                if job.progress is not None:
                    job.progress(done, job.tree.total)
            manifest = job.manifest(folder_id, entries)
            job.write_manifest(root, manifest)
            swap_in(place)
    except BaseException:
        if not lies_there(place.destination, folder_id):
            forget_all(job.manager, [made.file_id for made in files])
        raise
    return files, manifest.files
