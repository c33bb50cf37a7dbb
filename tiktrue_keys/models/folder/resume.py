"""Encrypts a folder so that a kill costs one file: what is finished stays in the temporary folder and is taken over.

A finished file is taken over when its source has the size, the time and the bytes (BLAKE3) that it had, and its output
is the container that was written for it, by this keystore, under a key that still opens it. Every other one is
encrypted anew under a data key of its own: nothing ever continues in the middle of a file, so no nonce comes twice.
Does not handle: the state file's format (folder/resume_state.py).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tiktrue_keys.core.containers.intents import NO_OTHERS
from tiktrue_keys.core.durable import opened_regular
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.container.container import check_authorship, verify_body
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.container.open import container_file
from tiktrue_keys.models.file.encrypt import Encrypted, encrypted_at
from tiktrue_keys.models.folder.encrypt import EncryptedFolder, placed
from tiktrue_keys.models.folder.job import FolderJob, encrypt_into, forget_all, planned_folder, settlement
from tiktrue_keys.models.folder.manifest_file import lies_there, trusted_manifest, write_manifest
from tiktrue_keys.models.folder.plain import copy_into, sha256_of
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder, ResumeState
from tiktrue_keys.models.folder.swap import FolderPlace, remove_aside, swap_in
from tiktrue_keys.models.folder.tree import SourceFile, real_folder, walk
from tiktrue_keys.models.format.header import new_file_id
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, ContainerEntry, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.registry.intent import file_act, noted
from tiktrue_keys.models.storage.location import recorded_path

OPERATION = "encrypt-folder-resumable"
_USABLE = (Status.PENDING, Status.ACTIVE, Status.ROTATING)
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ResumedEncryption(EncryptedFolder):
    """An encrypted folder, and the relative paths of the files that an earlier run had finished."""

    taken_over: tuple[str, ...] = ()


@dataclass
class _Run:
    """One run on its way through the folder; several threads add what they have finished."""

    job: FolderJob
    place: FolderPlace
    state: ResumeState
    files: list[Encrypted] = field(default_factory=list)
    taken_over: set[str] = field(default_factory=set)


def encrypt_folder_resumably(manager: KeyManager, request: FolderRequest) -> ResumedEncryption:
    """As encrypt_folder; what is done is noted in the file `resume`, and a run with the same one goes on from there.

    After a failure or a kill the destination is as it was, and the finished files lie in a hidden folder beside it. The
    state file goes when the folder is there. RefusedError for a state file of another folder; BusyError while another
    process has it.
    """
    assert request.resume is not None, "it was asked for"
    state_path, operation_id = Path(recorded_path(request.resume)), request.operation_id
    with noted(manager, OPERATION, operation_id):
        root = real_folder(request.source)
        if state_path.is_relative_to(root):
            raise RefusedError(
                f"{shown(state_path)} lies in the folder that is to be encrypted", "choose another place"
            )
        state = ResumeState.open(state_path)
    with state:
        finished = _finished_before(manager, root, state)
        if finished is not None:
            state.remove()
            return finished
        with noted(manager, OPERATION, operation_id):
            job = planned_folder(manager, request)
            run = _Run(job, _place(job, state), state)
        folder = state.folder
        assert folder is not None, "it was begun"
        with file_act(manager, job.act(OPERATION, folder.folder_id, run.place), operation_id) as outcome:
            try:
                entries = _build(run, folder.folder_id)
            finally:
                # What is done waits for the next run.
                outcome.others = settlement(job.target, folder.folder_id, job.replaced_ids) or NO_OTHERS
            length = sum(entry.length for entry in entries)
            outcome.detail = {"files": len(entries), "length": length, "taken_over": len(run.taken_over)}
            remove_aside(run.place)
        state.remove()
    return ResumedEncryption(
        operation_id=outcome.operation_id,
        changed=True,
        key=job.key,
        folder_id=folder.folder_id,
        source=job.root,
        destination=job.target,
        files=placed(run.files, entries, job.target),
        plain=tuple(entry.path for entry in entries if isinstance(entry, PlainEntry)),
        left_out=job.tree.left_out,
        length=length,
        taken_over=tuple(entry.path for entry in entries if entry.path in run.taken_over),
    )


def seems_finished(file: SourceFile, target: Path, state: ResumeState) -> bool:
    """Whether a run would find a file finished, as far as can be told without reading it."""
    folder, done = state.folder, state.done.get(file.relative)
    if folder is None or done is None or folder.destination != str(target):
        return False
    same_kind = file.plain == (done.file_id is None)
    there = os.path.lexists(target.with_name(folder.temporary) / file.place)
    return same_kind and there and _stamp(file) == (done.length, done.mtime_ns)


def _finished_before(manager: KeyManager, root: Path, state: ResumeState) -> ResumedEncryption | None:
    """The folder of a run that was killed between giving it its name and removing the state file."""
    folder = state.folder
    if folder is None or folder.source != str(root) or not lies_there(Path(folder.destination), folder.folder_id):
        return None
    target = Path(folder.destination)
    manifest = trusted_manifest(manager, target)
    operation = new_operation_id()
    files = tuple(encrypted_at(manager, target / entry.place, operation) for entry in manifest.containers)
    return ResumedEncryption(
        operation_id=operation,
        changed=False,
        key=files[0].key if files else manager.find(manifest.model_id),
        folder_id=folder.folder_id,
        source=root,
        destination=target,
        files=files,
        plain=tuple(entry.path for entry in manifest.plain),
        left_out=(),
        length=sum(entry.length for entry in manifest.files),
        taken_over=tuple(entry.path for entry in manifest.files),
    )


def _place(job: FolderJob, state: ResumeState) -> FolderPlace:
    """Where the folder is being built; a new state file begins a new one."""
    folder = state.folder
    if folder is None:
        place = FolderPlace.beside(job.target)
        source, target, model_id = str(job.root), str(job.target), job.key.model_id
        state.begin(ResumedFolder(source, target, place.temporary.name, new_file_id(), model_id))
        return place
    if (folder.source, folder.destination, folder.model_id) != (str(job.root), str(job.target), job.key.model_id):
        raise RefusedError(
            f"{shown(state.path)} is of {shown(folder.source)} into {shown(folder.destination)} for {folder.model_id}",
            "give another state file, or remove this one",
        )
    place = FolderPlace(job.target, job.target.with_name(folder.temporary))
    if not FolderPlace.is_temporary(place.temporary.name, job.target.name):
        raise RefusedError(f"{shown(state.path)} was changed", "remove it to begin anew")
    return place


def _build(run: _Run, folder_id: bytes) -> tuple[ManifestEntry, ...]:
    job, root = run.job, run.place.temporary
    with foreign_os_errors("the output", run.place.destination):
        with suppress(FileExistsError):
            os.mkdir(root, 0o700)
            os.chmod(root, 0o700)  # whatever the umask
        if not stat.S_ISDIR(os.lstat(root).st_mode):
            raise RefusedError(f"{shown(root)} is not a folder", f"remove {shown(run.state.path)} to begin anew")
    _remove_strangers(run)
    tasks = [Task(file.size, partial(_finish, run, file)) for file in job.tree.files]
    manifest = job.manifest(folder_id, side_by_side(tasks, jobs=job.request.jobs, progress=job.request.progress))
    write_manifest(job.manager, root, manifest, again=True)
    swap_in(run.place)
    return manifest.files


def _finish(run: _Run, file: SourceFile, report: ProgressReport) -> ManifestEntry:
    """Take a file over when it is finished, else make it now."""
    done = run.state.done.get(file.relative)
    if done is None or not _same_source(file, done, report) or not _same_output(run, file, done, report):
        return _make(run, file, report)
    return _take_over(run, file, done)


def _make(run: _Run, file: SourceFile, report: ProgressReport) -> ManifestEntry:
    """Encrypt or copy a file, and write down which bytes it was made of."""
    root = run.place.temporary
    before = _stamp(file)
    source_hash = _hash(file, report)
    if file.plain:
        copied = copy_into(file, root, report, again=True)
        entry: ManifestEntry = copied
        done = DoneFile(file.relative, copied.length, before[1], source_hash, None, copied.sha256)
    else:
        made = encrypt_into(run.job, file, root, report, again=True)
        run.files.append(made)
        entry = ContainerEntry(file.relative, made.length, made.file_id, made.root)
        done = DoneFile(file.relative, made.length, before[1], source_hash, made.file_id, made.root)
    if _stamp(file) != before or entry.length != before[0]:
        raise UnavailableError(
            f"{shown(file.path)} changed while it was read", "encrypt the folder when nothing writes to it"
        )
    run.state.add(done)
    return entry


def _take_over(run: _Run, file: SourceFile, done: DoneFile) -> ManifestEntry:
    run.taken_over.add(file.relative)
    if done.file_id is None:
        return PlainEntry(file.relative, done.length, done.content)
    made = encrypted_at(run.job.manager, run.place.temporary / file.place, new_operation_id())
    run.files.append(made)
    return ContainerEntry(file.relative, made.length, made.file_id, made.root)


def _same_source(file: SourceFile, done: DoneFile, report: ProgressReport) -> bool:
    return _stamp(file) == (done.length, done.mtime_ns) and _hash(file, report) == done.source_hash


def _same_output(run: _Run, file: SourceFile, done: DoneFile, report: ProgressReport) -> bool:
    manager, place = run.job.manager, run.place.temporary / file.place
    try:
        if file.plain or done.file_id is None:
            return file.plain and done.file_id is None and sha256_of(place, report) == (done.length, done.content)
        with container_file(place, done.content) as found:
            container = found.container
            check_authorship(container.header, container.body, container.trailer, issuers=[manager.issuer])
            verify_body(found.fd, container, progress=byte_report(report, None))
    except TikTrueKeysError:
        return False
    keys = held_keys(manager, container.header).values()
    same = container.header.file_id == done.file_id and container.length == done.length
    return same and any(key.status in _USABLE for key in keys)


def _remove_strangers(run: _Run) -> None:
    """What is in the folder and not in its manifest: files that the source has lost, a killed run's leftovers."""
    root, wanted = run.place.temporary, {file.place for file in run.job.tree.files}
    for relative, path in list(walk(root)):
        if relative in wanted or relative == MANIFEST_NAME:
            continue
        with suppress(TikTrueKeysError):  # no container
            forget_all(run.job.manager, [slots_at(str(path)).current.header.file_id])
        with foreign_os_errors("the output", path):
            path.unlink()
    for folder, folders, files in os.walk(root, topdown=False):
        if not folders and not files and Path(folder) != root:
            os.rmdir(folder)


def _stamp(file: SourceFile) -> tuple[int, int]:
    with foreign_os_errors("the file", file.path):
        found = os.stat(file.path)
    return found.st_size, found.st_mtime_ns


def _hash(file: SourceFile, report: ProgressReport) -> bytes:
    """BLAKE3 of the source, 32 bytes; in the page cache it is read again at once. That is no progress."""
    from blake3 import blake3

    hashed, buffer = blake3(), bytearray(_CHUNK)
    with opened_regular(os.path.realpath(file.path), "the file") as fd, foreign_os_errors("the file", file.path):
        while count := os.readv(fd, [buffer]):
            hashed.update(memoryview(buffer)[:count])
            report(0, None)
    return hashed.digest()
