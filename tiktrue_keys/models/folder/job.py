"""What encrypting a folder is made of: the plan, one file into its place, and the registry told afterwards.

Does not handle: in which order and under which name the folder is built (folder/encrypt.py, folder/resume.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.containers.intents import FileIntent, Settlement
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import asked_once, open_data_key
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.file.encrypt import Encrypted, encrypt_model
from tiktrue_keys.models.folder.manifest_file import lies_there, read_manifest
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.swap import FolderPlace, make_parents, must_be_free
from tiktrue_keys.models.folder.tree import SourceFile, SourceTree, entries_of, real_folder, source_tree
from tiktrue_keys.models.format.header import SUFFIX, safe_name
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, Manifest, ManifestEntry
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.location import Place, local_path, recorded_path

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Replaced:
    """The encrypted folder that --force replaces: its places, and the ids of its containers."""

    places: tuple[str, ...]
    file_ids: tuple[bytes, ...]


@dataclass(frozen=True)
class FolderJob:
    """One folder on its way: from where to where, what, under which key, in place of what.

    `license_key` is asked for once at most, unlike the request's.
    """

    manager: KeyManager
    request: FolderRequest
    root: Path
    target: Path
    tree: SourceTree
    key: ManagedKey
    license_key: License | None
    replaced: Replaced | None

    @property
    def replaced_ids(self) -> tuple[bytes, ...]:
        """The containers that the new folder replaces."""
        return self.replaced.file_ids if self.replaced is not None else ()

    def act(self, name: str, folder_id: bytes, place: FolderPlace) -> FileIntent:
        """The intent of the act `name`."""
        return FileIntent(
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

    def manifest(self, folder_id: bytes, entries: Sequence[ManifestEntry]) -> Manifest:
        """What the folder will hold."""
        return Manifest(folder_id, self.key.model_id, safe_name(self.root.name), entries_of(entries))


def settlement(folder: Path, folder_id: bytes, replaced: Iterable[bytes]) -> Settlement | None:
    """What the registry is told once a folder has its name: where its containers lie, and which ones it replaced.

    None where another folder, or none, lies there.
    """
    if not lies_there(folder, folder_id):
        return None
    moved = followed_folder(folder, read_manifest(folder).manifest)
    return Settlement(moved, [file_id for file_id in replaced if file_id not in moved])


def planned_folder(manager: KeyManager, request: FolderRequest) -> FolderJob:
    """What would be done, with everything looked at that could refuse it; raises as encrypt_folder."""
    license_key, given = asked_once(request.license_key), request.destination
    root = real_folder(request.source)
    target = root.with_name(root.name + SUFFIX) if given is None else local_path(given, "an encrypted folder")
    target = Path(recorded_path(target))
    if target.is_relative_to(root):
        raise RefusedError(f"{shown(target)} lies in the folder that is to be encrypted", "choose another output")
    replaced = replaceable(target) if request.force else None
    must_be_free(target, None if replaced is None else frozenset(replaced.places))
    tree = source_tree(root, request.selection)
    with manager.open_key(request.key, license_key, use=Use.ENCRYPT) as opened:
        return FolderJob(manager, request, root, target, tree, opened.key, license_key, replaced)


def followed_folder(folder: Path, manifest: Manifest) -> dict[bytes, str]:
    """Where the containers of a folder lie, by file id, for the registry."""
    return {entry.file_id: str(folder / entry.place) for entry in manifest.containers}


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
