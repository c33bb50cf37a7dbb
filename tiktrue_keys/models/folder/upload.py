"""Encrypted folders in object storage: the objects below a URL that ends with a slash, as their manifest lists them.

Files are uploaded one by one, the manifest last: the folder is incomplete without it. Each container may have a
detached header; any other object that is not listed is refused.

Does not handle: replacing or resuming a folder in storage; rewrapping (rewrap its containers one by one); decrypting
(folder/decrypt.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError, UsageError
from tiktrue_keys.models.file.encrypt import Encrypted, encrypt_model
from tiktrue_keys.models.folder.encrypt import OPERATION, EncryptedFolder, made_before, make_folder
from tiktrue_keys.models.folder.job import FolderJob, forget_all
from tiktrue_keys.models.folder.manifest_file import signed_manifest
from tiktrue_keys.models.folder.plain import copy_through
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.state import MemoryState
from tiktrue_keys.models.folder.tree import SourceFile, real_folder
from tiktrue_keys.models.format.header import new_file_id
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, ContainerEntry, Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task
from tiktrue_keys.models.pipeline.progress import ProgressReport, within
from tiktrue_keys.models.registry.intent import FileOutcome, file_operation, noted, repeated
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import objects_below, remove_object
from tiktrue_keys.models.storage.upload import Upload


def encrypt_folder_to(manager: KeyManager, request: FolderRequest) -> EncryptedFolder[Url]:
    """Encrypt every file of a folder to objects below a URL.

    A failure removes the uploaded objects. After a kill the finished containers stay, registered, without a manifest.
    Raises RefusedError when objects exist below the URL, UsageError for `force`, `resume` and `jobs`.
    """
    destination = request.destination
    if not isinstance(destination, Url):
        raise UsageError(f"{shown(str(destination))} is not a URL of object storage")
    if request.force or request.resume or request.jobs is not None:
        raise UsageError("force, resume and jobs apply only to a folder on a disk", "omit them")
    asked = request.asked(OPERATION)
    done = repeated(manager, asked, partial(made_before, manager, request, destination))
    if done is not None:
        return done
    with noted(manager, OPERATION, asked.operation_id, asked.subject):
        root = real_folder(request.source)
    return make_folder(manager, request, asked, root, lambda: UploadTarget(destination))


@dataclass(frozen=True)
class UploadTarget:
    """The upload of a folder; `arrived` collects the entries of uploaded files."""

    destination: Url
    folder_id: bytes = field(default_factory=new_file_id)
    state: MemoryState = field(default_factory=MemoryState)
    arrived: list[ManifestEntry] = field(default_factory=list)

    def must_be_free(self) -> tuple[bytes, ...]:
        with suppress(NotFoundError):
            if objects_below(self.destination):
                words = f"there are objects below {shown(str(self.destination))} already"
                raise RefusedError(words, "choose another name")
        return ()

    def begin(self, model_id: str) -> None:
        pass  # an upload cannot be resumed

    @contextmanager
    def recorded(self, job: FolderJob, asked: OperationRequest, files: Sequence[Encrypted]) -> Iterator[FileOutcome]:
        intent = job.intent(asked.operation, self.folder_id, self.destination, None)
        with file_operation(job.manager, intent, asked) as outcome:
            try:
                yield outcome
            except BaseException:
                self._take_back(job.manager)
                raise

    def place_of(self, file: SourceFile) -> Url:
        return self.destination / file.place

    def encrypt(self, job: FolderJob, file: SourceFile, report: ProgressReport) -> Encrypted:
        """Encrypt a file to an object. It is visible at once, so it has an intent and an outcome of its own."""
        return encrypt_model(
            job.manager,
            file.path,
            self.place_of(file),
            key=job.key.key_id,
            license_key=job.license_key,
            name=file.name,
            progress=report,
        )

    def copy(self, file: SourceFile, report: ProgressReport) -> PlainEntry:
        with Upload(self.place_of(file), replace=False) as upload:
            entry = copy_through(file, upload.preface, report)
            upload.commit()
        return entry

    def each(self, tasks: Sequence[Task[ManifestEntry]], request: FolderRequest) -> list[ManifestEntry]:
        done, total = 0, sum(task.size for task in tasks)
        for task in tasks:
            self.arrived.append(task.work(within(request.progress, done, total) or _unheard))
            done += task.size
        return self.arrived

    def complete(self, manager: KeyManager, manifest: Manifest) -> None:
        signed = signed_manifest(manager, manifest)
        with Upload(self.destination / MANIFEST_NAME, replace=False, size=len(signed)) as upload:
            upload.preface(signed)
            upload.commit()

    def _take_back(self, manager: KeyManager) -> None:
        """Remove the uploaded objects. A container that cannot be removed stays registered."""
        with suppress(TikTrueKeysError):  # the last request may have succeeded without an answer
            remove_object(self.destination / MANIFEST_NAME, "the manifest")
        for entry in self.arrived:
            with suppress(TikTrueKeysError):
                remove_object(self.destination / entry.place, "the output")
                if isinstance(entry, ContainerEntry):
                    forget_all(manager, [entry.file_id])


def _unheard(_done: int, _total: int | None) -> None:
    """Ignore a progress report."""
