"""Encrypts a folder, file by file, into `DIR.ttm/` with a signed manifest; creates the whole folder or nothing.

Every form has the same steps: check everything that could refuse it, build, name, settle. The resumable form has
another state (folder/state.py), the form in object storage another target (folder/target.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.models.file.encrypt import Encrypted, encrypted_at
from tiktrue_keys.models.folder.job import FolderJob, folder_made, planned_folder
from tiktrue_keys.models.folder.manifest_file import lies_there, trusted_manifest
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume import RESUMABLE, is_finished
from tiktrue_keys.models.folder.resume_state import DoneFile
from tiktrue_keys.models.folder.state import FolderState, opened_state
from tiktrue_keys.models.folder.target import DiskTarget, FolderTarget, checked_gate, entry_of
from tiktrue_keys.models.folder.tree import SourceFile, real_folder
from tiktrue_keys.models.format.manifest import Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import FinishedOperation, noted, repeated
from tiktrue_keys.models.storage.location import Url

OPERATION = "encrypt-folder"
AnyPlace = TypeVar("AnyPlace", bound=Path | Url)


@dataclass(frozen=True, kw_only=True)
class EncryptedFolder(OperationResult, Generic[AnyPlace]):
    """A new encrypted folder; `folder_id` is 16 bytes, `length` in bytes of plaintext.

    `left_out` are the files that the selection excludes, `taken_over` those that an earlier run had finished.
    """

    key: ManagedKey
    folder_id: bytes
    source: Path
    destination: AnyPlace
    files: tuple[Encrypted, ...]
    plain: tuple[str, ...]
    left_out: tuple[str, ...]
    length: int
    taken_over: tuple[str, ...] = ()


def encrypt_folder(manager: KeyManager, request: FolderRequest) -> EncryptedFolder[Path]:
    """Encrypt every file of a folder into a folder on a disk.

    Globs match a file's relative path or its name; `plain` files are copied in clear, and the manifest lists their
    hash. A failure leaves the destination as it was. Raises RefusedError for links that lead out of the folder and when
    the destination exists.

    With `resume`, finished files stay in a hidden folder beside the destination after a failure or a kill, and the next
    run with the same state file reuses them. The state file is removed when the folder is complete. Raises RefusedError
    for a state file of another folder, BusyError while another process holds it.
    """
    asked = request.asked(OPERATION if request.resume is None else RESUMABLE)
    if request.resume is None or not os.path.lexists(request.resume):  # the run removes an existing state file
        done = repeated(manager, asked, partial(_made_before, manager, request))
        if done is not None:
            return done
    with ExitStack() as stack:
        with noted(manager, asked.operation, asked.operation_id, asked.subject):
            root = real_folder(request.source)
            state = stack.enter_context(opened_state(request, checked_gate(manager, request, root)))
        made = _finished_before(manager, root, state)
        if made is None:
            made = make_folder(manager, request, asked, root, partial(DiskTarget.of, manager, request, root, state))
        state.remove()
    return made


def make_folder(
    manager: KeyManager,
    request: FolderRequest,
    asked: OperationRequest,
    root: Path,
    target_of: Callable[[], FolderTarget[AnyPlace]],
) -> EncryptedFolder[AnyPlace]:
    """Plan, build, name and settle the encrypted form of the folder `root` at a target; raises as encrypt_folder."""
    with noted(manager, asked.operation, asked.operation_id, asked.subject):
        target = target_of()
        job = planned_folder(manager, request, root, target.must_be_free)
        target.begin(job.key.model_id)
    run = _Run(job, target)
    with target.recorded(job, asked, run.files) as outcome:
        tasks = [Task(file.size, partial(_entry, run, file)) for file in job.tree.files]
        manifest = job.manifest(target.folder_id, target.each(tasks, request))
        target.complete(manager, manifest)
        taken_over = {"taken_over": len(run.taken_over)} if target.state.kept else {}
        outcome.detail = {"files": len(manifest.files), "length": manifest.length, **taken_over}
    return EncryptedFolder(
        operation_id=outcome.operation_id,
        changed=True,
        key=job.key,
        folder_id=target.folder_id,
        source=root,
        destination=target.destination,
        files=_in_order(run.files, manifest),
        plain=tuple(entry.path for entry in manifest.plain),
        left_out=job.tree.left_out,
        length=manifest.length,
        taken_over=tuple(entry.path for entry in manifest.files if entry.path in run.taken_over),
    )


def made_before(
    manager: KeyManager, request: FolderRequest, place: AnyPlace, done: FinishedOperation
) -> EncryptedFolder[AnyPlace]:
    """Return the result of an earlier operation, read from its folder at `place`."""
    _, manifest = folder_made(manager, done)
    return _read_back(manager, place, manifest, Path(request.source), done.operation_id)


def _made_before(manager: KeyManager, request: FolderRequest, done: FinishedOperation) -> EncryptedFolder[Path]:
    return made_before(manager, request, Path(done.path), done)


def _finished_before(manager: KeyManager, root: Path, state: FolderState) -> EncryptedFolder[Path] | None:
    """Return the folder of a run that was killed after naming it and before removing the state file, else None."""
    begun = state.folder
    if begun is None or begun.source != str(root) or not lies_there(Path(begun.destination), begun.folder_id):
        return None
    destination = Path(begun.destination)
    manifest = trusted_manifest(manager, destination)
    made = _read_back(manager, destination, manifest, root, new_operation_id())
    return replace(made, taken_over=tuple(entry.path for entry in manifest.files))


def _read_back(
    manager: KeyManager, place: AnyPlace, manifest: Manifest, source: Path, operation_id: str
) -> EncryptedFolder[AnyPlace]:
    files = tuple(encrypted_at(manager, place / entry.place, operation_id) for entry in manifest.containers)
    return EncryptedFolder(
        operation_id=operation_id,
        changed=False,
        key=files[0].key if files else manager.find(manifest.model_id),
        folder_id=manifest.folder_id,
        source=source,
        destination=place,
        files=files,
        plain=tuple(entry.path for entry in manifest.plain),
        left_out=(),
        length=manifest.length,
    )


def _in_order(files: Iterable[Encrypted], manifest: Manifest) -> tuple[Encrypted, ...]:
    """Return the results in the manifest's order."""
    made = {each.file_id: each for each in files}
    return tuple(made[entry.file_id] for entry in manifest.containers)


@dataclass
class _Run:
    """One run; several threads add their finished files."""

    job: FolderJob
    target: FolderTarget[Any]
    files: list[Encrypted] = field(default_factory=list)
    taken_over: set[str] = field(default_factory=set)


def _entry(run: _Run, file: SourceFile, report: ProgressReport) -> ManifestEntry:
    """Reuse a file that an earlier run finished, else encrypt or copy it; return its entry."""
    done = run.target.state.done.get(file.relative)
    if done is not None and is_finished(run.job.manager, file, done, run.target.place_of(file), report):
        return _take_over(run, file, done)
    return _make(run, file, report)


def _make(run: _Run, file: SourceFile, report: ProgressReport) -> ManifestEntry:
    if file.plain:
        return run.target.copy(file, report)
    made = run.target.encrypt(run.job, file, report)
    run.files.append(made)
    return entry_of(file, made)


def _take_over(run: _Run, file: SourceFile, done: DoneFile) -> ManifestEntry:
    run.taken_over.add(file.relative)
    if done.file_id is None:
        return PlainEntry(file.relative, done.length, done.content)
    made = encrypted_at(run.job.manager, run.target.place_of(file), new_operation_id())
    made = replace(made, destination=run.target.destination / file.place)
    run.files.append(made)
    return entry_of(file, made)
