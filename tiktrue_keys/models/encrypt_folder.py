"""Encrypts a folder, file by file, into `DIR.ttm/` with a signed manifest: there whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
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
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.data_keys import asked_once
from tiktrue_keys.models.decrypt_folder import real_folder, trusted_manifest
from tiktrue_keys.models.encrypt import SUFFIX, Encrypted, encrypt_model, encrypted_at
from tiktrue_keys.models.file_acts import LOCK_TIMEOUT, ProgressReport, file_act, noted, recorded_path, within
from tiktrue_keys.models.folder_swap import (
    FolderPlace,
    built_folder,
    make_parents,
    must_be_free,
    remove_aside,
    swap_in,
)
from tiktrue_keys.models.folder_tree import (
    Selection,
    SourceFile,
    SourceTree,
    entries_of,
    read_manifest,
    source_tree,
)
from tiktrue_keys.models.header import new_file_id, safe_name
from tiktrue_keys.models.manifest import (
    MANIFEST_NAME,
    SIGNATURE_KIND,
    ContainerEntry,
    Entry,
    Manifest,
    PlainEntry,
    SignedManifest,
)

ACT = "encrypt-folder"
_CHUNK = 1 << 20


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


@dataclass(frozen=True)
class _Job:
    """One folder on its way: what, under which key, reporting to whom."""

    manager: KeyManager
    key: ManagedKey
    license_key: License | None
    tree: SourceTree
    progress: ProgressReport | None


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
    license_key = asked_once(license_key)
    root = real_folder(source)
    target = Path(destination) if destination is not None else root.with_name(root.name + SUFFIX)
    target = Path(recorded_path(target))
    with noted(manager, ACT, operation_id):
        if target.is_relative_to(root):
            raise RefusedError(f"{shown(target)} lies in the folder that is to be encrypted", "choose another output")
        replaced = _replaceable(target) if force else None
        must_be_free(target, None if replaced is None else frozenset(replaced.places))
        tree = source_tree(root, Selection(include, exclude, plain))
        with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
            job = _Job(manager, opened.key, license_key, tree, progress)
    place = FolderPlace.beside(target)
    folder_id = new_file_id()
    act = FileAct(
        ACT,
        folder_id,
        str(target),
        frozenset(),
        frozenset(),
        model_id=job.key.model_id,
        name=safe_name(root.name),
        temporary=str(place.temporary),
        replaces=os.path.lexists(target),
    )
    with file_act(manager, act, operation_id) as outcome:
        files, entries = _build(job, place, folder_id, safe_name(root.name))
        outcome.detail = {"files": len(entries), "length": tree.total}
        _settle_registry(manager, files, target, replaced)
        remove_aside(place)
    return EncryptedFolder(
        operation_id=outcome.operation_id,
        changed=True,
        key=job.key,
        folder_id=folder_id,
        source=root,
        destination=target,
        files=tuple(replace(made, destination=target / place_of(made, place)) for made in files),
        plain=tuple(entry.path for entry in entries if isinstance(entry, PlainEntry)),
        left_out=tree.left_out,
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


def follow_folder(manager: KeyManager, folder: Path, manifest: Manifest) -> None:
    """Tell the registry that the containers of a folder lie in it now."""
    for entry in manifest.containers:
        known = manager.container(entry.file_id)
        if known is not None and known.path != str(folder / entry.place):
            manager.register(replace(known, path=str(folder / entry.place)), event="move")


def lies_there(folder: Path, folder_id: bytes) -> bool:
    """Whether the encrypted folder `folder_id` (16 bytes) lies at `folder`."""
    try:
        return read_manifest(folder).manifest.folder_id == folder_id
    except TikTrueKeysError:
        return False


def forget_all(manager: KeyManager, file_ids: Iterable[bytes]) -> None:
    """Take containers that are gone out of the registry; one that cannot be keeps its key, no more."""
    for file_id in file_ids:
        with suppress(TikTrueKeysError):
            manager.forget(file_id)


@dataclass(frozen=True)
class _Replaced:
    """The encrypted folder that --force replaces: its places, and the ids of its containers."""

    places: tuple[str, ...]
    file_ids: tuple[bytes, ...]


def _replaceable(target: Path) -> _Replaced:
    """What may be replaced: nothing where there is no encrypted folder."""
    try:
        manifest = read_manifest(target).manifest
    except TikTrueKeysError:
        return _Replaced((), ())
    places = (MANIFEST_NAME, *(entry.place for entry in manifest.files))
    return _Replaced(places, tuple(entry.file_id for entry in manifest.containers))


def _build(job: _Job, place: FolderPlace, folder_id: bytes, name: str) -> tuple[list[Encrypted], tuple[Entry, ...]]:
    """Fill the temporary folder, manifest last, and give it its name; the registry lets go of it when that fails."""
    files: list[Encrypted] = []
    entries: list[Entry] = []
    manager, done = job.manager, 0
    try:
        with built_folder(place) as root:
            for file in job.tree.files:
                if file.plain:
                    entries.append(_copy(file, root))
                else:
                    made = _encrypt(job, file, root, done)
                    files.append(made)
                    entries.append(ContainerEntry(file.relative, made.length, made.file_id, made.root))
                done += entries[-1].length
                if job.progress is not None:
                    job.progress(done, job.tree.total)
            manifest = Manifest(folder_id, job.key.model_id, name, entries_of(entries))
            signed = SignedManifest.make(manifest, manager.issuer, lambda data: manager.sign(SIGNATURE_KIND, data))
            with NewFile(root / MANIFEST_NAME, what="the manifest") as new:
                new.write(signed.encode())
                new.commit(replace=False)
            swap_in(place)
    except BaseException:
        if not lies_there(place.destination, folder_id):
            forget_all(manager, [made.file_id for made in files])
        raise
    return files, manifest.files


def _encrypt(job: _Job, file: SourceFile, root: Path, before: int) -> Encrypted:
    return encrypt_model(
        job.manager,
        Path(os.path.realpath(file.path)),
        make_parents(root, file.place),
        key=job.key.key_id,
        license_key=job.license_key,
        name=file.path.name,
        progress=within(job.progress, before, job.tree.total),
        lock_timeout=LOCK_TIMEOUT,
    )


def _copy(file: SourceFile, root: Path) -> PlainEntry:
    """Copy a file in clear and hash what was copied; UnavailableError when it changes meanwhile."""
    hashed, length = hashlib.sha256(), 0
    source = os.path.realpath(file.path)
    with opened_regular(source, "the file") as fd, NewFile(make_parents(root, file.place), what="the output") as new:
        with foreign_os_errors("the file", file.path):
            before = os.fstat(fd)
            while chunk := os.read(fd, _CHUNK):
                hashed.update(chunk)
                new.write(chunk)
                length += len(chunk)
            after = os.fstat(fd)
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, length):
            words = f"{shown(file.path)} changed while it was read"
            raise UnavailableError(words, "encrypt the folder when nothing writes to it")
        new.commit(replace=False)
    return PlainEntry(file.relative, length, hashed.digest())


def _settle_registry(manager: KeyManager, files: list[Encrypted], target: Path, replaced: _Replaced | None) -> None:
    follow_folder(manager, target, read_manifest(target).manifest)
    gone = set(replaced.file_ids if replaced is not None else ()) - {made.file_id for made in files}
    known = [record for record in map(manager.container, gone) if record is not None]
    forget_all(manager, [record.file_id for record in known if Path(record.path).is_relative_to(target)])
