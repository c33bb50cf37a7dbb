"""Re-encrypts every container of an encrypted folder: the new folder replaces the old one as a whole, or not at all.

The new folder is built beside the old one. The old containers stay locked until it is gone, so that no rewrap is lost.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.containers.settlement import Settlement
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.subject import Subject
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import each_once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import BusyError, IntegrityError, TikTrueKeysError
from tiktrue_keys.models.container.container import ContainerFile, read_container
from tiktrue_keys.models.container.data_key import asked_once, held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.container.reseal import OPENED_BUFFERS
from tiktrue_keys.models.file.reencrypt import OPERATION as FILE_OPERATION
from tiktrue_keys.models.file.reencrypt import Reencrypted, Request, begun, write_reencrypted
from tiktrue_keys.models.folder.compare import must_be_complete
from tiktrue_keys.models.folder.job import folder_made, open_beforehand, settlement
from tiktrue_keys.models.folder.manifest_file import read_manifest, trusted_manifest, write_manifest
from tiktrue_keys.models.folder.new_folder import folder_intent, new_folder
from tiktrue_keys.models.folder.plain import copy_plain
from tiktrue_keys.models.folder.swap import FolderPlace, make_parents, swap_in
from tiktrue_keys.models.folder.tree import real_folder
from tiktrue_keys.models.format.header import new_file_id
from tiktrue_keys.models.format.manifest import ContainerEntry, Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import PIPELINE, Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import FinishedOperation, noted, repeated
from tiktrue_keys.models.registry.plaintext_approval import reencryption
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT, locked_container
from tiktrue_keys.models.storage.descriptors import allowed_descriptors
from tiktrue_keys.models.storage.location import recorded_path

OPERATION = "reencrypt-folder"


@dataclass(frozen=True, kw_only=True)
class ReencryptedFolder(OperationResult):
    """A re-encrypted folder; `folder_id` 16 bytes, `length` in bytes of plaintext.

    `release` is the number of the release that names it, None where none has named the old folder.
    """

    path: Path
    folder_id: bytes
    key: ManagedKey
    files: tuple[Reencrypted, ...]
    plain: tuple[str, ...]
    length: int
    release: int | None = None


def reencrypt_folder(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    license_key: License | None = None,
    to: str | None = None,
    recover_revoked: bool = False,
    allow_unsigned: bool = False,
    confirmed: str | None = None,
    jobs: int | None = None,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> ReencryptedFolder:
    """Re-encrypt every container of DIR.ttm under one key, and copy the files in clear.

    Processes up to `jobs` files at once (default: one for each processor, at most four). A failure leaves the old
    folder untouched. Raises IntegrityError when the folder does not match its manifest, BusyError when it changes
    meanwhile, and the errors of reencrypt_model.
    """
    request = Request(asked_once(license_key), to, recover_revoked, allow_unsigned, confirmed)
    asked = request.request_of(path, OPERATION, operation_id)
    done = repeated(manager, asked, partial(_again, manager))
    if done is not None:
        return done
    root = Path(recorded_path(real_folder(path)))
    with ExitStack() as stack:
        with noted(manager, OPERATION, asked.operation_id, asked.subject):
            recovering = _recovering(manager, root, request)
            manifest = trusted_manifest(manager, root, recovering=recovering)
            must_be_complete(root, manifest)
            request.must_be_unconfirmed(recovering=recovering)
            locked = stack.enter_context(_locked(root, manifest, lock_timeout))
            if trusted_manifest(manager, root, recovering=recovering) != manifest:
                raise BusyError(f"{shown(root)} was replaced by another process", "run it again")
            key = _target(manager, root, manifest, request)
        place = FolderPlace.beside(root)
        job = _Job(manager, root, manifest, replace(request, to=key.key_id), key, locked, place)
        return job.run(jobs, progress, asked)


@dataclass(frozen=True)
class _Job:
    """The re-encryption of one folder. `locked` maps file ids to descriptors; `files` collects the new containers."""

    manager: KeyManager
    root: Path
    manifest: Manifest
    request: Request
    key: ManagedKey
    locked: Mapping[bytes, int]
    place: FolderPlace
    files: list[Reencrypted] = field(default_factory=list)

    def run(self, jobs: int | None, progress: ProgressReport | None, asked: OperationRequest) -> ReencryptedFolder:
        folder_id, files = new_file_id(), self.files
        intent = folder_intent(
            OPERATION,
            folder_id,
            self.root,
            self.place.temporary,
            model_id=self.key.model_id,
            name=self.manifest.name,
        )
        intent = replace(intent, supersedes=self.manifest.folder_id.hex(), leaves=self.request.leaves)

        def settle() -> Settlement:
            return settlement(self.root, folder_id, self.locked, [made.file_id for made in files])

        arguments = {"folder_id": self.manifest.folder_id.hex(), "to": self.key.key_id}
        moves = self.key.model_id != self.manifest.model_id
        recovers = self.request.recover_revoked
        proposal = reencryption(str(self.root), [self.key], arguments, recovers=recovers, moves=moves)
        with new_folder(self.manager, intent, self.place, asked, proposal=proposal, settle=settle) as outcome:
            release = self._build(outcome.operation_id, folder_id, jobs, progress)
            outcome.detail = {"files": len(self.manifest.files), "length": self.manifest.length}
        files.sort(key=lambda made: made.path)
        moved = tuple(replace(made, path=self.root / made.path.relative_to(self.place.temporary)) for made in files)
        return ReencryptedFolder(
            operation_id=outcome.operation_id,
            changed=True,
            warnings=each_once(notice for made in files for notice in made.warnings),
            path=self.root,
            folder_id=folder_id,
            key=self.key,
            files=moved,
            plain=tuple(entry.path for entry in self.manifest.plain),
            length=self.manifest.length,
            release=release,
        )

    def _build(
        self, operation_id: str, folder_id: bytes, jobs: int | None, progress: ProgressReport | None
    ) -> int | None:
        """Fill the temporary folder, manifest last, and swap it in; return the number of the release that names it.

        `files` gets the new containers even on failure.
        """
        tasks = [
            Task(entry.length, partial(self._make, entry), PIPELINE + OPENED_BUFFERS) for entry in self.manifest.files
        ]
        entries = side_by_side(tasks, jobs=jobs, progress=progress)
        manifest = Manifest(folder_id, self.key.model_id, self.manifest.name, tuple(entries))
        write_manifest(self.manager, self.place.temporary, manifest)
        _take_modes(self.root, self.place.temporary)
        release = self.manager.name_successor(operation_id, manifest.digest)
        swap_in(self.place)
        return release

    def _make(self, entry: ManifestEntry, report: ProgressReport) -> ManifestEntry:
        path = make_parents(self.place.temporary, entry.place)
        if isinstance(entry, PlainEntry):
            with NewFile(path, gate=None, what="the output") as new:
                copy_plain(self.root, entry, new.write, report)
                new.commit(replace=False)
            return entry
        with ExitStack() as stack:
            with noted(self.manager, FILE_OPERATION, None, Subject(paths=(str(path),))):
                source = self._source(entry)
                job = stack.enter_context(begun(self.manager, source, self.request, report))
            made = write_reencrypted(job, path, None, leaves="")
        self.files.append(made)
        return ContainerEntry(entry.path, made.length, made.file_id, made.root)

    def _source(self, entry: ContainerEntry) -> ContainerFile:
        fd, path = self.locked[entry.file_id], self.root / entry.place
        with foreign_os_errors("the container", path):
            container = read_container(fd)
        if not container.is_listed(self.manifest.listed(entry)):
            raise IntegrityError(f"{shown(path)} is another container than the manifest lists")
        return ContainerFile(fd, path, container)


def _again(manager: KeyManager, done: FinishedOperation) -> ReencryptedFolder:
    """Return the result of an earlier operation, read from its folder."""
    root, manifest = folder_made(manager, done)
    assert isinstance(root, Path), "a folder in object storage cannot be re-encrypted"
    records = [record.detail for record in manager.audit_records() if record.event == FILE_OPERATION]
    old = {detail.get("file_id"): detail.get("old_file_id", "") for detail in records}
    files = []
    for entry in manifest.containers:
        with opened_container(root / entry.place, manifest.listed(entry)) as found:
            container = found.container
        files.append(
            Reencrypted(
                operation_id=done.operation_id,
                changed=False,
                path=root / entry.place,
                old_file_id=bytes.fromhex(old.get(entry.file_id.hex(), "")),
                file_id=entry.file_id,
                key=manager.find(container.header.wraps[0].key_id),
                length=entry.length,
                root=entry.root,
                signed=container.trailer.signature is not None,
            )
        )
    return ReencryptedFolder(
        operation_id=done.operation_id,
        changed=False,
        path=root,
        folder_id=manifest.folder_id,
        key=files[0].key if files else manager.find(manifest.model_id),
        files=tuple(files),
        plain=tuple(entry.path for entry in manifest.plain),
        length=manifest.length,
    )


def _recovering(manager: KeyManager, root: Path, request: Request) -> bool:
    """Return whether the folder is recovered from a removed issuer. Raises RefusedError where that is not allowed."""
    claimed = read_manifest(root).manifest
    keys: dict[str, ManagedKey] = {}
    for entry in claimed.containers[:1]:
        with suppress(TikTrueKeysError):  # what is wrong with the folder is said when it is compared
            keys = held_keys(manager, slots_at(str(root / entry.place)).current.header)
    return request.check(manager, claimed.model_id, keys.values())


def _target(manager: KeyManager, root: Path, manifest: Manifest, request: Request) -> ManagedKey:
    """Return the key for all new containers. Opens it and the old key once, to raise refusals before any work."""
    old = open_beforehand(manager, root, manifest, request.license_key, request.use)
    target = request.target(manager, old)
    with manager.open_key(target.key_id, request.license_key, use=Use.ENCRYPT) as opened:
        return opened.key


@contextmanager
def _locked(root: Path, manifest: Manifest, timeout: float) -> Iterator[dict[bytes, int]]:
    """Lock every container of the folder; yield descriptors by file id. Waits at most `timeout` seconds in all."""
    allowed_descriptors(len(manifest.containers))
    deadline, locked = time.monotonic() + timeout, {}
    with ExitStack() as stack:
        for entry in manifest.containers:
            left = max(0.0, deadline - time.monotonic())
            locked[entry.file_id] = stack.enter_context(locked_container(root / entry.place, left))
        yield locked


def _take_modes(old: Path, new: Path) -> None:
    """Give the new folders and files the owner and permissions of the old ones."""
    for made in (new, *new.rglob("*")):
        with foreign_os_errors("the output", made):
            found = os.lstat(old / made.relative_to(new))
            with suppress(OSError):  # only root can give a file away
                os.chown(made, found.st_uid, found.st_gid)
            os.chmod(made, stat.S_IMODE(found.st_mode))
