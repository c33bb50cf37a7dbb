"""Encrypted folders in object storage: the objects below a URL that ends with a slash, as their manifest lists them.

They go there file by file, the manifest last: without it there is no folder yet. They come back file by file into a
folder that is there whole or not at all. A detached header may lie beside each container; anything else that is not
listed is refused.

Does not handle: replacing a folder in storage, or going on with one; its containers can be rewrapped one by one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.files import FileAct
from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.durable import NewFile, foreign_os_errors, opened_regular, shown
from tiktrue_keys.core.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models import decrypt_folder
from tiktrue_keys.models.container_source import trusted_issuers
from tiktrue_keys.models.data_keys import asked_once
from tiktrue_keys.models.decrypt import Decrypted, decrypt_model
from tiktrue_keys.models.decrypt_folder import DecryptedFolder, each_once, real_folder
from tiktrue_keys.models.detached import SUFFIX as DETACHED
from tiktrue_keys.models.encrypt import Encrypted, encrypt_model
from tiktrue_keys.models.file_acts import ProgressReport, file_act, noted, recorded_path, within
from tiktrue_keys.models.folder_swap import (
    FolderPlace,
    built_folder,
    make_parents,
    must_be_free,
    remove_aside,
    swap_in,
)
from tiktrue_keys.models.folder_tree import (
    Differences,
    Selection,
    SourceFile,
    entries_of,
    must_be_listed,
    source_tree,
)
from tiktrue_keys.models.header import new_file_id, safe_name
from tiktrue_keys.models.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST,
    SIGNATURE_KIND,
    ContainerEntry,
    Entry,
    Manifest,
    PlainEntry,
    SignedManifest,
)
from tiktrue_keys.models.places import Url
from tiktrue_keys.models.positioned import pread_full
from tiktrue_keys.models.storage import RemoteObject, objects_below, read_small, remove
from tiktrue_keys.models.upload import Upload

ACT = "encrypt-folder"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class UploadedFolder(ActResult):
    """A new encrypted folder in storage; as EncryptedFolder."""

    key: ManagedKey
    folder_id: bytes
    source: Path
    destination: Url
    files: tuple[Encrypted, ...]
    plain: tuple[str, ...]
    left_out: tuple[str, ...]
    length: int


def encrypt_folder_to(
    manager: KeyManager,
    source: str | PathLike[str],
    destination: Url,
    *,
    key: str,
    license_key: License | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    plain: Sequence[str] = (),
    progress: ProgressReport | None = None,
    operation_id: str | None = None,
) -> UploadedFolder:
    """Encrypt every file of a folder to below `destination`; RefusedError when anything lies there.

    Globs as encrypt_folder. After a failure what had arrived is removed again. Of a process that was killed the
    finished containers stay, registered, without a manifest.
    """
    license_key = asked_once(license_key)
    with noted(manager, ACT, operation_id):
        root = real_folder(source)
        tree = source_tree(root, Selection(include, exclude, plain))
        _must_be_empty(destination)
        with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
            managed = opened.key
    operation, folder_id = operation_id or new_operation_id(), new_file_id()
    entries: list[Entry] = []
    files: list[Encrypted] = []
    done = 0
    try:
        for file in tree.files:
            url, report = destination.below(file.place), within(progress, done, tree.total)
            if file.plain:
                entries.append(_copy_there(file, url))
            else:
                files.append(_encrypt_there(manager, file, url, managed, license_key, report))
                entries.append(ContainerEntry(file.relative, files[-1].length, files[-1].file_id, files[-1].root))
            done += file.size
        manifest = Manifest(folder_id, managed.model_id, safe_name(root.name), entries_of(entries))
        signed = SignedManifest.make(manifest, manager.issuer, lambda data: manager.sign(SIGNATURE_KIND, data))
        detail = {"file_id": folder_id.hex(), "path": str(destination), "files": len(entries), "length": done}
        manager.record_use(ACT, key=managed, detail=detail, operation_id=operation)
        _put(destination.below(MANIFEST_NAME), signed.encode())
    except BaseException:
        _take_back(manager, destination, entries)
        raise
    return UploadedFolder(
        operation_id=operation,
        changed=True,
        key=managed,
        folder_id=folder_id,
        source=root,
        destination=destination,
        files=tuple(files),
        plain=tuple(entry.path for entry in entries if isinstance(entry, PlainEntry)),
        left_out=tree.left_out,
        length=sum(entry.length for entry in entries),
    )


def decrypt_folder_from(
    manager: KeyManager,
    source: Url,
    destination: str | PathLike[str],
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    force: bool = False,
    progress: ProgressReport | None = None,
    operation_id: str | None = None,
) -> DecryptedFolder:
    """Decrypt the folder below `source` into a folder of this machine; as decrypt_folder."""
    license_key, target = asked_once(license_key), Path(recorded_path(destination))
    with noted(manager, decrypt_folder.ACT, operation_id):
        manifest = remote_manifest(manager, source)
        must_be_free(target, frozenset(entry.path for entry in manifest.files) if force else None)
        _must_be_complete(source, manifest)
    place = FolderPlace.beside(target)
    act = FileAct(
        decrypt_folder.ACT,
        manifest.folder_id,
        str(target),
        frozenset(),
        frozenset(),
        model_id=manifest.model_id,
        name=manifest.name,
        temporary=str(place.temporary),
        replaces=os.path.lexists(target),
    )
    total, done = sum(entry.length for entry in manifest.files), 0
    files: list[Decrypted] = []
    with file_act(manager, act, operation_id) as outcome, built_folder(place) as built:
        for entry in manifest.files:
            url, path = source.below(entry.place), make_parents(built, entry.path)
            if isinstance(entry, PlainEntry):
                _copy_here(url, entry, path)
            else:
                opened = decrypt_model(
                    manager,
                    url,
                    path,
                    license_key=license_key,
                    allow_deprecated=allow_deprecated,
                    allow_unsigned=allow_unsigned,
                    expected_root=entry.root,
                    progress=within(progress, done, total),
                )
                files.append(replace(opened, destination=target / entry.path))
            done += entry.length
        swap_in(place)
        outcome.detail = {"files": len(manifest.files), "length": total, "source": str(source)}
        remove_aside(place)
    return DecryptedFolder(
        operation_id=outcome.operation_id,
        changed=True,
        warnings=each_once(notice for made in files for notice in made.warnings),
        source=source,
        destination=target,
        files=tuple(files),
        plain=tuple(entry.path for entry in manifest.plain),
        length=total,
    )


def remote_manifest(manager: KeyManager, folder: Url) -> Manifest:
    """The manifest below `folder`, signed by whom this keystore trusts; IntegrityError, NotFoundError."""
    data = read_small(folder.below(MANIFEST_NAME), MAX_MANIFEST + 1, "the manifest")
    if data is None:
        words = f"{shown(str(folder))} has no {MANIFEST_NAME}"
        raise NotFoundError(words, "it is no encrypted folder, or was not finished")
    signed, issuers = SignedManifest.decode(data), trusted_issuers(manager)
    signed.verify(signed.issuer if signed.issuer in issuers else issuers[0])
    return signed.manifest


def _must_be_empty(folder: Url) -> None:
    with suppress(NotFoundError):
        if objects_below(folder):
            raise RefusedError(f"something lies below {shown(str(folder))} already", "choose another name")


def _must_be_complete(folder: Url, manifest: Manifest) -> None:
    """IntegrityError naming what is missing or added. What a container is, its root says when it is opened."""
    there = {str(url).removeprefix(str(folder.below(""))) for url in objects_below(folder)} - {MANIFEST_NAME}
    wanted = {entry.place for entry in manifest.files}
    beside = {entry.place + DETACHED for entry in manifest.containers}
    found = Differences(missing=tuple(sorted(wanted - there)), added=tuple(sorted(there - wanted - beside)))
    if found.sentence():
        words = f"{shown(str(folder))} is not as its manifest says: {found.sentence()}"
        raise IntegrityError(words, "restore the folder from a copy")


def _encrypt_there(
    manager: KeyManager,
    file: SourceFile,
    url: Url,
    key: ManagedKey,
    license_key: License | None,
    progress: ProgressReport | None,
) -> Encrypted:
    return encrypt_model(
        manager,
        Path(os.path.realpath(file.path)),
        url,
        key=key.key_id,
        license_key=license_key,
        name=file.path.name,
        progress=progress,
    )


def _copy_there(file: SourceFile, url: Url) -> PlainEntry:
    hashed, length = hashlib.sha256(), 0
    with opened_regular(os.path.realpath(file.path), "the file") as fd, Upload(url, replace=False) as upload:
        with foreign_os_errors("the file", file.path):
            before = os.fstat(fd)
            while chunk := os.read(fd, _CHUNK):
                hashed.update(chunk)
                upload.preface(chunk)
                length += len(chunk)
            after = os.fstat(fd)
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, length):
            words = f"{shown(file.path)} changed while it was read"
            raise UnavailableError(words, "encrypt the folder when nothing writes to it")
        upload.commit()
    return PlainEntry(file.relative, length, hashed.digest())


def _copy_here(url: Url, entry: PlainEntry, path: Path) -> None:
    hashed, source = hashlib.sha256(), RemoteObject(url, "the file")
    must_be_listed(entry, source.size, entry.sha256)  # a file of another length is not even transferred
    with NewFile(path, what="the output") as new:
        for at in range(0, source.size, _CHUNK):
            chunk = pread_full(source, _CHUNK, at)
            hashed.update(chunk)
            new.write(chunk)
        must_be_listed(entry, source.size, hashed.digest())
        new.commit(replace=False)


def _put(url: Url, data: bytes) -> None:
    with Upload(url, replace=False, size=len(data)) as upload:
        upload.preface(data)
        upload.commit()


def _take_back(manager: KeyManager, folder: Url, entries: Sequence[Entry]) -> None:
    """Remove what had arrived; what cannot be removed stays registered."""
    for entry in entries:
        with suppress(TikTrueKeysError):
            remove(folder.below(entry.place), "the output")
            if isinstance(entry, ContainerEntry):
                manager.forget(entry.file_id)
