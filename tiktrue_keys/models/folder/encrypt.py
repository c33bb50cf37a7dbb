"""Encrypts a folder, file by file, into `DIR.ttm/` with a signed manifest: there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tiktrue_keys.core.containers.intents import Settlement
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.file.encrypt import Encrypted, encrypted_at
from tiktrue_keys.models.folder.job import FolderJob, encrypt_into, planned_folder, settlement
from tiktrue_keys.models.folder.manifest_file import trusted_manifest, write_manifest
from tiktrue_keys.models.folder.plain import copy_into
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.swap import FolderPlace, built_folder, remove_aside, swap_in
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.header import new_file_id
from tiktrue_keys.models.format.manifest import ContainerEntry, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import file_act, noted
from tiktrue_keys.models.storage.location import Place, parse_place

OPERATION = "encrypt-folder"


@dataclass(frozen=True, kw_only=True)
class SealedFolder(OperationResult):
    """A new encrypted folder; `folder_id` is 16 bytes, `length` bytes of plaintext, `left_out` by the selection."""

    key: ManagedKey
    folder_id: bytes
    source: Path
    files: tuple[Encrypted, ...]
    plain: tuple[str, ...]
    left_out: tuple[str, ...]
    length: int


@dataclass(frozen=True, kw_only=True)
class EncryptedFolder(SealedFolder):
    """One on a disk."""

    destination: Path


def encrypt_folder(manager: KeyManager, request: FolderRequest) -> EncryptedFolder:
    """Encrypt every file of a folder into a folder on a disk.

    Globs are held against a file's relative path and its own name; `plain` files are copied in clear under the
    manifest's hash. RefusedError for links that lead out of the folder and when the destination exists. After any
    failure the destination is as it was.
    """
    operation_id = request.operation_id
    done = _done_before(manager, request)
    if done is not None:
        return done
    with noted(manager, OPERATION, operation_id):
        job = planned_folder(manager, request)
    place, folder_id = FolderPlace.beside(job.target), new_file_id()
    files: list[Encrypted] = []
    with file_act(manager, job.act(OPERATION, folder_id, place), operation_id) as outcome:
        try:
            entries = _build(job, place, folder_id, files)
        finally:
            gone = [made.file_id for made in files]
            outcome.others = settlement(job.target, folder_id, job.replaced_ids) or Settlement(gone=gone)
        outcome.detail = {"files": len(entries), "length": job.tree.total}
        remove_aside(place)
    return EncryptedFolder(
        operation_id=outcome.operation_id,
        changed=True,
        key=job.key,
        folder_id=folder_id,
        source=job.root,
        destination=job.target,
        files=placed(files, entries, job.target),
        plain=tuple(entry.path for entry in entries if isinstance(entry, PlainEntry)),
        left_out=job.tree.left_out,
        length=sum(entry.length for entry in entries),
    )


def _done_before(manager: KeyManager, request: FolderRequest) -> EncryptedFolder | None:
    """What the act of this operation id made, read from the folder; None when it was not done."""
    again = made_before(manager, request)
    if again is None:
        return None
    place, members = again
    if not isinstance(place, Path):
        raise RefusedError(
            f"operation {request.operation_id} was done already, to {shown(str(place))}",
            "choose another id",
            remedy="operation-id-taken",
        )
    return EncryptedFolder(**members, destination=place)


def made_before(manager: KeyManager, request: FolderRequest) -> tuple[Place, dict[str, Any]] | None:
    """Where the folder lies that this operation id made, and a SealedFolder's members; None when it was not done."""
    operation_id = request.operation_id
    first = manager.finished_file_act(operation_id, OPERATION) if operation_id and manager.exists() else None
    if operation_id is None or first is None:
        return None
    folder_id, path = first
    place = parse_place(path)
    manifest = trusted_manifest(manager, place)
    if manifest.folder_id != folder_id:
        raise RefusedError(f"operation {operation_id} was done already; another folder is at {shown(path)} now")
    files = tuple(encrypted_at(manager, place / entry.place, operation_id) for entry in manifest.containers)
    return place, {
        "operation_id": operation_id,
        "changed": False,
        "key": files[0].key if files else manager.find(manifest.model_id),
        "folder_id": folder_id,
        "source": Path(request.source),
        "files": files,
        "plain": tuple(entry.path for entry in manifest.plain),
        "left_out": (),
        "length": sum(entry.length for entry in manifest.files),
    }


def placed(files: Iterable[Encrypted], entries: Iterable[ManifestEntry], folder: Path) -> tuple[Encrypted, ...]:
    """What was made under a temporary name, in the order of the manifest's entries, as it lies in `folder` now."""
    made = {each.file_id: each for each in files}
    return tuple(
        replace(made[entry.file_id], destination=folder / entry.place)
        for entry in entries
        if isinstance(entry, ContainerEntry)
    )


def _build(job: FolderJob, place: FolderPlace, folder_id: bytes, files: list[Encrypted]) -> tuple[ManifestEntry, ...]:
    """Fill the temporary folder, manifest last, and give it its name. `files` gets what was made, even of a failure."""
    with built_folder(place) as root:
        tasks = [Task(file.size, partial(_make, job, file, root, files)) for file in job.tree.files]
        manifest = job.manifest(folder_id, side_by_side(tasks, jobs=job.request.jobs, progress=job.request.progress))
        write_manifest(job.manager, root, manifest)
        swap_in(place)
    return manifest.files


def _make(
    job: FolderJob, file: SourceFile, root: Path, files: list[Encrypted], report: ProgressReport
) -> ManifestEntry:
    if file.plain:
        return copy_into(file, root, report)
    made = encrypt_into(job, file, root, report)
    files.append(made)
    return ContainerEntry(file.relative, made.length, made.file_id, made.root)
