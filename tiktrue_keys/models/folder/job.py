"""The checks before an operation on a folder, and the changes in the registry after it.

Does not handle: the order and name under which a folder is built (folder/encrypt.py, folder/target.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.settlement import Settlement
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.outputs import FileKind
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.models.container.data_key import asked_once, open_data_key
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.folder.manifest_file import lies_there, read_manifest, trusted_manifest
from tiktrue_keys.models.folder.new_folder import folder_intent
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.tree import SourceTree, entries_of, source_tree
from tiktrue_keys.models.format.header import safe_name
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, Manifest, ManifestEntry
from tiktrue_keys.models.registry.intent import FinishedOperation
from tiktrue_keys.models.storage.location import Place, parse_place


@dataclass(frozen=True)
class Replaced:
    """The encrypted folder that --force replaces: its files' kinds by relative path, and the ids of its containers."""

    kinds: Mapping[str, FileKind]
    file_ids: tuple[bytes, ...]


@dataclass(frozen=True)
class FolderJob:
    """A checked request: the files, the key, and the containers to replace (`replaced`, by file id).

    `license_key` is prompted for at most once, unlike the request's.
    """

    manager: KeyManager
    request: FolderRequest
    root: Path
    tree: SourceTree
    key: ManagedKey
    license_key: License | None
    replaced: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """Return the folder's name as a manifest may have it."""
        return safe_name(self.root.name)

    def intent(self, operation: str, folder_id: bytes, destination: Place, temporary: Path | None) -> FileIntent:
        """Return the intent to make the encrypted folder at `destination`, which keeps the key of its containers."""
        name, model_id = self.name, self.key.model_id
        intent = folder_intent(operation, folder_id, destination, temporary, model_id=model_id, name=name)
        return replace(intent, keys_after=frozenset({str(self.key.key_id)}))

    def manifest(self, folder_id: bytes, entries: Sequence[ManifestEntry]) -> Manifest:
        """Return the manifest of the new folder."""
        return Manifest(folder_id, self.key.model_id, self.name, entries_of(entries))


def settlement(folder: Path, folder_id: bytes, replaced: Iterable[bytes], made: Iterable[bytes]) -> Settlement:
    """Return the registry's changes after a folder was named: its containers' paths, and the ones it replaced.

    When the folder is not there, the containers `made` for it are gone. All by file id.
    """
    if not lies_there(folder, folder_id):
        return Settlement(gone=list(made))
    moved = followed_folder(folder, read_manifest(folder).manifest)
    return Settlement(moved, [file_id for file_id in replaced if file_id not in moved])


def folder_made(manager: KeyManager, done: FinishedOperation) -> tuple[Place, Manifest]:
    """Return the path and manifest of the folder that an earlier operation made.

    Raises RefusedError when another folder has that path now.
    """
    place = parse_place(done.path)
    manifest = trusted_manifest(manager, place)
    done.must_be(manifest.folder_id, "folder")
    return place, manifest


def planned_folder(
    manager: KeyManager, request: FolderRequest, root: Path, must_be_free: Callable[[], tuple[bytes, ...]]
) -> FolderJob:
    """Return the job for the folder `root`, after checking everything that could refuse it.

    `must_be_free` checks the destination and returns the file ids of the containers that will be replaced.
    """
    license_key, replaced = asked_once(request.license_key), must_be_free()
    tree = source_tree(root, request.selection)
    manager.output_gate().check_sources(file.path for file in tree.files)
    with manager.open_key(request.key, license_key, use=Use.ENCRYPT) as opened:
        manager.must_be_authority(opened.key.model_id)
        return FolderJob(manager, request, root, tree, opened.key, license_key, replaced)


def followed_folder(folder: Path, manifest: Manifest) -> dict[bytes, str]:
    """Return the paths of a folder's containers, by file id, for the registry."""
    return {entry.file_id: str(folder / entry.place) for entry in manifest.containers}


def forget_all(manager: KeyManager, file_ids: Iterable[bytes]) -> None:
    """Remove containers that are gone from the registry. A failure only keeps their keys needed."""
    for file_id in file_ids:
        with suppress(TikTrueKeysError):
            manager.forget(file_id)


def replaceable(manager: KeyManager, target: Path) -> Replaced:
    """Return what may be replaced at `target`; nothing unless a trusted issuer signed the manifest of a folder there.

    Anyone can write a manifest that lists the files of another folder.
    """
    if not os.path.isfile(target / MANIFEST_NAME):
        return Replaced({}, ())
    try:
        manifest = trusted_manifest(manager, target)
    except IntegrityError:
        return Replaced({}, ())
    kinds = {MANIFEST_NAME: FileKind.MANIFEST}
    kinds |= {entry.place: FileKind.CONTAINER for entry in manifest.containers}
    kinds |= {entry.place: FileKind.OTHER for entry in manifest.plain}
    return Replaced(kinds, tuple(entry.file_id for entry in manifest.containers))


def open_beforehand(
    manager: KeyManager, folder: Place, manifest: Manifest, license_key: License | None, use: Use
) -> ManagedKey:
    """Open the data key of the folder's first container; return the key that opened it, or else the model's key.

    The license is then prompted for on this thread, and a refusal comes before any output.
    """
    for entry in manifest.containers:
        header = slots_at(str(folder / entry.place)).current.header
        with open_data_key(manager, header, license_key, use) as opened:
            return opened.key
    return manager.find(manifest.model_id)
