"""Decrypts an encrypted folder as its manifest lists it, into a folder that is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.files import FileAct
from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.container_source import opened_readable, trusted_issuers
from tiktrue_keys.models.data_keys import asked_once, open_data_key
from tiktrue_keys.models.decrypt import Decrypted, ReadOptions, decrypt_model
from tiktrue_keys.models.encrypt import SUFFIX
from tiktrue_keys.models.file_acts import ProgressReport, file_act, noted, recorded_path
from tiktrue_keys.models.folder_swap import (
    FolderPlace,
    built_folder,
    make_parents,
    must_be_free,
    remove_aside,
    swap_in,
)
from tiktrue_keys.models.folder_tree import must_be_complete, must_be_listed, read_manifest
from tiktrue_keys.models.manifest import Entry, Manifest, PlainEntry
from tiktrue_keys.models.places import Place, Url, parse_place
from tiktrue_keys.models.positioned import pread_full, size_of
from tiktrue_keys.models.side_by_side import Task, side_by_side
from tiktrue_keys.models.tracking import slots_at

ACT = "decrypt-folder"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DecryptedFolder(ActResult):
    """A decrypted folder; `length` in bytes of all its files. `files` is empty for a repeated operation id."""

    source: Place
    destination: Path
    files: tuple[Decrypted, ...]
    plain: tuple[str, ...]
    length: int


def decrypt_folder(
    manager: KeyManager,
    source: str | PathLike[str] | Url,
    destination: str | PathLike[str] | None = None,
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    force: bool = False,
    jobs: int | None = None,
    progress: ProgressReport | None = None,
    operation_id: str | None = None,
) -> DecryptedFolder:
    """Decrypt DIR.ttm, or the folder below a URL; `destination` None is DIR beside it.

    IntegrityError, before anything is released, when a file is missing, added, renamed, swapped or older than the
    manifest says, or when another keystore signed it; else as decrypt_model. RefusedError when the destination exists;
    `force` replaces a folder that holds nothing but files of the same names. `jobs` files at once, as side_by_side.
    After any failure it is as it was.
    """
    license_key = asked_once(license_key)
    place = parse_place(source)
    root = place if isinstance(place, Url) else real_folder(place)
    target = Path(recorded_path(Path(destination) if destination is not None else _default(root)))
    with noted(manager, ACT, operation_id):
        manifest = trusted_manifest(manager, root)
        done = manager.finished_file_act(operation_id, ACT) if operation_id else None
        if operation_id is not None and done == (manifest.folder_id, str(target)) and target.is_dir():
            return _result(operation_id, root, target, manifest, [], changed=False)
        must_be_free(target, frozenset(entry.path for entry in manifest.files) if force else None)
        must_be_complete(root, manifest)
        options = ReadOptions(allow_deprecated, allow_unsigned)
        open_beforehand(manager, root, manifest, license_key, options.use)
    beside = FolderPlace.beside(target)
    act = FileAct(
        ACT,
        manifest.folder_id,
        str(target),
        frozenset(),
        frozenset(),
        model_id=manifest.model_id,
        name=manifest.name,
        temporary=str(beside.temporary),
        replaces=os.path.lexists(target),
    )
    job = _Job(manager, root, manifest, beside, license_key, options)
    with file_act(manager, act, operation_id) as outcome:
        files = job.build(jobs, progress)
        total = sum(entry.length for entry in manifest.files)
        outcome.detail = {"files": len(manifest.files), "length": total, "source": str(root)}
        remove_aside(beside)
    return _result(outcome.operation_id, root, target, manifest, files, changed=True)


def _result(
    operation_id: str, source: Place, target: Path, manifest: Manifest, files: list[Decrypted], *, changed: bool
) -> DecryptedFolder:
    return DecryptedFolder(
        operation_id=operation_id,
        changed=changed,
        warnings=each_once(notice for made in files for notice in made.warnings),
        source=source,
        destination=target,
        files=tuple(files),
        plain=tuple(entry.path for entry in manifest.plain),
        length=sum(entry.length for entry in manifest.files),
    )


def trusted_manifest(manager: KeyManager, folder: Place) -> Manifest:
    """The folder's manifest, signed by whom this keystore trusts; IntegrityError, NotFoundError."""
    signed = read_manifest(folder)
    issuers = trusted_issuers(manager)
    signed.verify(signed.issuer if signed.issuer in issuers else issuers[0])
    return signed.manifest


def open_beforehand(
    manager: KeyManager, folder: Place, manifest: Manifest, license_key: License | None, use: Use
) -> ManagedKey:
    """Open the data key of the folder's first container, and say by which key; with none, the key of its model.

    So a license is asked for on this thread, and what refuses the key does so before anything is made.
    """
    for entry in manifest.containers:
        header = slots_at(str(folder / entry.place)).current.header
        with open_data_key(manager, header, license_key, use) as opened:
            return opened.key
    return manager.find(manifest.model_id)


def each_once(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """Notices without repetition, in order."""
    return tuple(dict.fromkeys(notices))


@dataclass(frozen=True)
class _Job:
    """An encrypted folder on its way out."""

    manager: KeyManager
    root: Place
    manifest: Manifest
    place: FolderPlace
    license_key: License | None
    options: ReadOptions

    def build(self, jobs: int | None, progress: ProgressReport | None) -> list[Decrypted]:
        """Fill the temporary folder and give it its name; the containers' results, in the manifest's order."""
        with built_folder(self.place) as built:
            tasks = [Task(entry.length, partial(self._make, built, entry)) for entry in self.manifest.files]
            made = side_by_side(tasks, jobs=jobs, progress=progress)
            swap_in(self.place)
        return [each for each in made if each is not None]

    def _make(self, built: Path, entry: Entry, report: ProgressReport) -> Decrypted | None:
        path = make_parents(built, entry.path)
        if isinstance(entry, PlainEntry):
            copy_plain(self.root, entry, path, report)
            return None
        opened = decrypt_model(
            self.manager,
            self.root / entry.place,
            path,
            license_key=self.license_key,
            allow_deprecated=self.options.allow_deprecated,
            allow_unsigned=self.options.allow_unsigned,
            expected_root=entry.root,
            progress=report,
        )
        return replace(opened, destination=self.place.destination / entry.path)


def copy_plain(root: Place, entry: PlainEntry, made: Path, report: ProgressReport) -> None:
    """Copy a file in clear out of an encrypted folder; IntegrityError unless the copy is what the manifest lists."""
    hashed, length, source = hashlib.sha256(), 0, root / entry.place
    with opened_readable(source, "the file") as found, NewFile(made, what="the output") as new:
        must_be_listed(entry, size_of(found), entry.sha256)  # what has another length is not even transferred
        with foreign_os_errors("the file", str(source)):
            while chunk := pread_full(found, _CHUNK, length):
                hashed.update(chunk)
                new.write(chunk)
                length += len(chunk)
                report(length, None)
        must_be_listed(entry, length, hashed.digest())
        new.commit(replace=False)


def real_folder(source: str | PathLike[str]) -> Path:
    """The folder that a path names, over symbolic links; UsageError for anything else."""
    with foreign_os_errors("the folder", source):
        root = Path(os.path.realpath(source, strict=True))
    if not root.is_dir():
        raise UsageError(f"{shown(root)} is not a folder")
    return root


def _default(root: Place) -> Path:
    if isinstance(root, Url):
        raise UsageError("a folder from object storage needs a place of its own", "give a folder with -o")
    if root.suffix != SUFFIX or not root.stem:
        raise UsageError(f"the output's name follows from DIR{SUFFIX} only", "give the output with -o")
    return root.with_suffix("")
