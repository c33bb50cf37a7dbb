"""What encrypting a folder is made of: the plan, one file into its place, and the registry told afterwards.

Does not handle: in which order and under which name the folder is built (encrypt_folder.py, resume.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.files import FileAct, Settlement
from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.durable import NewFile, opened_regular
from tiktrue_keys.core.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.data_keys import asked_once
from tiktrue_keys.models.decrypt_folder import real_folder
from tiktrue_keys.models.encrypt import SUFFIX, Encrypted, encrypt_model
from tiktrue_keys.models.file_acts import LOCK_TIMEOUT, ProgressReport, recorded_path
from tiktrue_keys.models.folder_swap import (
    FolderPlace,
    make_parents,
    must_be_free,
)
from tiktrue_keys.models.folder_tree import (
    Selection,
    SourceFile,
    SourceTree,
    entries_of,
    read_manifest,
    source_tree,
)
from tiktrue_keys.models.header import safe_name
from tiktrue_keys.models.manifest import (
    MANIFEST_NAME,
    SIGNATURE_KIND,
    Entry,
    Manifest,
    PlainEntry,
    SignedManifest,
)

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Replaced:
    """The encrypted folder that --force replaces: its places, and the ids of its containers."""

    places: tuple[str, ...]
    file_ids: tuple[bytes, ...]


@dataclass(frozen=True)
class FolderJob:
    """One folder on its way: from where to where, what, under which key, in place of what, reporting to whom."""

    manager: KeyManager
    root: Path
    target: Path
    tree: SourceTree
    key: ManagedKey
    license_key: License | None
    replaced: Replaced | None
    progress: ProgressReport | None
    jobs: int | None

    @property
    def replaced_ids(self) -> tuple[bytes, ...]:
        """The containers that the new folder replaces."""
        return self.replaced.file_ids if self.replaced is not None else ()

    def act(self, name: str, folder_id: bytes, place: FolderPlace) -> FileAct:
        """The intent of the act `name`."""
        return FileAct(
            name,
            folder_id,
            str(self.target),
            frozenset(),
            frozenset(),
            model_id=self.key.model_id,
            name=safe_name(self.root.name),
            temporary=str(place.temporary),
            replaces=os.path.lexists(self.target),
        )

    def manifest(self, folder_id: bytes, entries: Sequence[Entry]) -> Manifest:
        """What the folder will hold."""
        return Manifest(folder_id, self.key.model_id, safe_name(self.root.name), entries_of(entries))


def signed_manifest(manager: KeyManager, manifest: Manifest) -> bytes:
    """The manifest's file, signed as this keystore."""
    return SignedManifest.make(manifest, manager.issuer, lambda data: manager.sign(SIGNATURE_KIND, data)).encode()


def write_manifest(manager: KeyManager, folder: Path, manifest: Manifest, *, again: bool = False) -> None:
    """Sign the manifest and put it into the folder; `again`: in place of one that is there."""
    signed = signed_manifest(manager, manifest)
    with NewFile(folder / MANIFEST_NAME, what="the manifest") as new:
        new.write(signed)
        new.commit(replace=again)


def settlement(folder: Path, folder_id: bytes, replaced: Iterable[bytes]) -> Settlement | None:
    """What the registry is told once a folder has its name: where its containers lie, and which ones it replaced.

    None where another folder, or none, lies there.
    """
    if not lies_there(folder, folder_id):
        return None
    moved = followed_folder(folder, read_manifest(folder).manifest)
    return Settlement(moved, [file_id for file_id in replaced if file_id not in moved])


def planned_folder(
    manager: KeyManager,
    source: str | PathLike[str],
    destination: str | PathLike[str] | None,
    key: str,
    license_key: License | None,
    selection: Selection,
    *,
    force: bool,
    progress: ProgressReport | None,
    jobs: int | None = None,
) -> FolderJob:
    """What would be done, with everything looked at that could refuse it; raises as encrypt_folder."""
    license_key = asked_once(license_key)
    root = real_folder(source)
    target = Path(destination) if destination is not None else root.with_name(root.name + SUFFIX)
    target = Path(recorded_path(target))
    if target.is_relative_to(root):
        raise RefusedError(f"{shown(target)} lies in the folder that is to be encrypted", "choose another output")
    replaced = replaceable(target) if force else None
    must_be_free(target, None if replaced is None else frozenset(replaced.places))
    tree = source_tree(root, selection)
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
        return FolderJob(manager, root, target, tree, opened.key, license_key, replaced, progress, jobs)


def followed_folder(folder: Path, manifest: Manifest) -> dict[bytes, str]:
    """Where the containers of a folder lie, by file id, for the registry."""
    return {entry.file_id: str(folder / entry.place) for entry in manifest.containers}


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


def replaceable(target: Path) -> Replaced:
    """What may be replaced: nothing where there is no encrypted folder."""
    try:
        manifest = read_manifest(target).manifest
    except TikTrueKeysError:
        return Replaced((), ())
    places = (MANIFEST_NAME, *(entry.place for entry in manifest.files))
    return Replaced(places, tuple(entry.file_id for entry in manifest.containers))


def encrypt_into(
    job: FolderJob, file: SourceFile, root: Path, report: ProgressReport, *, again: bool = False
) -> Encrypted:
    """Encrypt a file to its place below `root`; `again`: in place of one that is there."""
    return encrypt_model(
        job.manager,
        Path(os.path.realpath(file.path)),
        make_parents(root, file.place),
        key=job.key.key_id,
        license_key=job.license_key,
        name=file.path.name,
        force=again,
        progress=report,
        lock_timeout=LOCK_TIMEOUT,
    )


def copy_into(file: SourceFile, root: Path, report: ProgressReport, *, again: bool = False) -> PlainEntry:
    """Copy a file in clear to its place below `root`, as copy_through."""
    with NewFile(make_parents(root, file.place), what="the output") as new:
        entry = copy_through(file, new.write, report)
        new.commit(replace=again)
    return entry


def copy_through(file: SourceFile, write: Callable[[bytes], object], report: ProgressReport | None) -> PlainEntry:
    """Give a file in clear to `write` and hash what was given; UnavailableError when it changes meanwhile."""
    hashed, length = hashlib.sha256(), 0
    with opened_regular(os.path.realpath(file.path), "the file") as fd, foreign_os_errors("the file", file.path):
        before = os.fstat(fd)
        while chunk := os.read(fd, _CHUNK):
            hashed.update(chunk)
            write(chunk)
            length += len(chunk)
            if report is not None:
                report(length, file.size)
        after = os.fstat(fd)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, length):
        words = f"{shown(file.path)} changed while it was read"
        raise UnavailableError(words, "encrypt the folder when nothing writes to it")
    return PlainEntry(file.relative, length, hashed.digest())
