"""Encrypted folders in object storage: the objects below a URL that ends with a slash, as their manifest lists them.

They go there file by file, the manifest last: without it there is no folder yet. A detached header may lie beside each
container; anything else that is not listed is refused.

Does not handle: replacing a folder in storage, or going on with one; its containers can be rewrapped one by one.
Decrypting one is decrypt_folder's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.file.encrypt import Encrypted, encrypt_model
from tiktrue_keys.models.folder.encrypt import OPERATION, EncryptedFolder, done_before
from tiktrue_keys.models.folder.job import forget_all
from tiktrue_keys.models.folder.manifest_file import signed_manifest
from tiktrue_keys.models.folder.plain import copy_through
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.tree import SourceFile, SourceTree, entries_of, real_folder, source_tree
from tiktrue_keys.models.format.header import new_file_id, safe_name
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, ContainerEntry, Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.progress import ProgressReport, within
from tiktrue_keys.models.registry.intent import file_act, noted
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.objects import objects_below, remove_object
from tiktrue_keys.models.storage.upload import Upload


def encrypt_folder_to(manager: KeyManager, request: FolderRequest) -> EncryptedFolder[Url]:
    """Encrypt every file of a folder to below a URL; RefusedError when anything lies there.

    Globs as encrypt_folder. After a failure what had arrived is removed again. Of a process that was killed the
    finished containers stay, registered, without a manifest.
    """
    destination, operation_id = request.destination, request.operation_id
    assert isinstance(destination, Url), "it was asked for"
    again = done_before(manager, request, Url)
    if again is not None:
        return again
    license_key = asked_once(request.license_key)
    with noted(manager, OPERATION, operation_id):
        root = real_folder(request.source)
        tree = source_tree(root, request.selection)
        _must_be_empty(destination)
        with manager.open_key(request.key, license_key, use=Use.ENCRYPT) as opened:
            job = _Job(manager, root, destination, tree, opened.key, license_key)
    folder_id = new_file_id()
    with file_act(manager, job.act(folder_id), operation_id) as outcome:
        try:
            manifest = job.upload(folder_id, request.progress)
        except BaseException:
            job.take_back()
            raise
        length = sum(entry.length for entry in manifest.files)
        outcome.detail = {"files": len(manifest.files), "length": length}
    return EncryptedFolder(
        operation_id=outcome.operation_id,
        changed=True,
        key=job.key,
        folder_id=folder_id,
        source=root,
        destination=destination,
        files=tuple(job.files),
        plain=tuple(entry.path for entry in manifest.plain),
        left_out=tree.left_out,
        length=length,
    )


@dataclass(frozen=True)
class _Job:
    """One folder on its way there; `files` and `entries` grow with what has arrived."""

    manager: KeyManager
    root: Path
    target: Url
    tree: SourceTree
    key: ManagedKey
    license_key: License | None
    files: list[Encrypted] = field(default_factory=list)
    entries: list[ManifestEntry] = field(default_factory=list)

    def act(self, folder_id: bytes) -> FileIntent:
        """The intent; each container has one of its own besides."""
        name = safe_name(self.root.name)
        return FileIntent(
            OPERATION, folder_id, str(self.target), frozenset(), frozenset(), model_id=self.key.model_id, name=name
        )

    def upload(self, folder_id: bytes, progress: ProgressReport | None) -> Manifest:
        """Every file, then the manifest."""
        done = 0
        for file in self.tree.files:
            report = within(progress, done, self.tree.total)
            self.entries.append(self._copy(file, report) if file.plain else self._encrypt(file, report))
            done += file.size
        manifest = Manifest(folder_id, self.key.model_id, safe_name(self.root.name), entries_of(self.entries))
        signed = signed_manifest(self.manager, manifest)
        with Upload(self.target / MANIFEST_NAME, replace=False, size=len(signed)) as upload:
            upload.preface(signed)
            upload.commit()
        return manifest

    def take_back(self) -> None:
        """Remove what had arrived; what cannot be removed stays registered."""
        with suppress(TikTrueKeysError):  # its last request may have been done and not answered
            remove_object(self.target / MANIFEST_NAME, "the manifest")
        for entry in self.entries:
            with suppress(TikTrueKeysError):
                remove_object(self.target / entry.place, "the output")
                if isinstance(entry, ContainerEntry):
                    forget_all(self.manager, [entry.file_id])

    def _encrypt(self, file: SourceFile, report: ProgressReport | None) -> ContainerEntry:
        made = encrypt_model(
            self.manager,
            Path(os.path.realpath(file.path)),
            self.target / file.place,
            key=self.key.key_id,
            license_key=self.license_key,
            name=file.path.name,
            progress=report,
        )
        self.files.append(made)
        return ContainerEntry(file.relative, made.length, made.file_id, made.root)

    def _copy(self, file: SourceFile, report: ProgressReport | None) -> PlainEntry:
        with Upload(self.target / file.place, replace=False) as upload:
            entry = copy_through(file, upload.preface, report)
            upload.commit()
        return entry


def _must_be_empty(folder: Url) -> None:
    with suppress(NotFoundError):
        if objects_below(folder):
            raise RefusedError(f"something lies below {shown(str(folder))} already", "choose another name")
